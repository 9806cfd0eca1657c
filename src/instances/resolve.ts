import type { InstanceRecord } from "../schema/instance.ts";
import { instanceErrors } from "./errors.ts";
import type { InstanceRecords } from "./instance-records.ts";

/** The record named by a full id, a name (with or without Docker's leading slash), or an unambiguous id prefix, in that order. */
export function resolveInstance(records: InstanceRecords, nameOrId: string): InstanceRecord {
  if (nameOrId === "") throw instanceErrors.INSTANCE_ID_EMPTY({});
  const byId = records.get(nameOrId);
  if (byId !== undefined) return byId;
  const byName = records.byName(nameOrId.replace(/^\//, ""));
  if (byName !== undefined) return byName;
  if (!/^[0-9a-f]{1,64}$/.test(nameOrId)) throw instanceErrors.INSTANCE_NOT_FOUND({ name: nameOrId });
  const matches = records.all().filter((record) => record.id.startsWith(nameOrId));
  const [match, ...more] = matches;
  if (match === undefined) throw instanceErrors.INSTANCE_NOT_FOUND({ name: nameOrId });
  if (more.length > 0) throw instanceErrors.INSTANCE_ID_AMBIGUOUS({ prefix: nameOrId });
  return match;
}

/** Active in Docker's sense: it has, or is about to have again, a process. */
export function isActive(record: InstanceRecord): boolean {
  const { status } = record.state;
  return status === "running" || status === "paused" || status === "restarting";
}

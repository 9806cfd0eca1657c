import { isBerthError } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import { Reverter } from "../base/reverter.ts";
import { instanceErrors } from "./errors.ts";
import type { Parts } from "./parts.ts";
import { resolveInstance } from "./resolve.ts";

/** See {@link InstanceService.rename}. A running instance answers to its new name in DNS at once. */
export async function renameInstance(parts: Parts, ctx: OpContext, nameOrId: string, given: string): Promise<void> {
  const newName = given.trim().replace(/^\//, "");
  if (newName === "" || nameOrId.trim().replace(/^\//, "") === "") throw instanceErrors.RENAME_NAME_EMPTY({});
  const { id } = resolveInstance(parts.records, nameOrId);
  using _ = await parts.locks.acquire(id);
  const { name: oldName } = parts.records.require(id);
  if (newName === oldName) throw instanceErrors.RENAME_SAME_NAME({});
  await using reverter = new Reverter(ctx);
  reserve(parts, id, newName);
  reverter.add("release the new name", () => parts.records.releaseName(id, newName));
  if (parts.networks.sandbox(id) !== undefined) {
    await parts.networks.rename(ctx, id, newName);
    reverter.add("give the old name back to DNS", (ctx) => parts.networks.rename(ctx, id, oldName));
  }
  const renamed = parts.records.update(id, (record) => ({
    ...record,
    name: newName,
    spec: { ...record.spec, name: newName },
  }));
  reverter.commit();
  parts.records.releaseName(id, oldName);
  parts.publish(renamed, "rename", { oldName: `/${oldName}` });
}

function reserve(parts: Parts, id: string, name: string): void {
  try {
    parts.records.reserveName(id, name);
  } catch (error) {
    if (isBerthError(error, "NAME_IN_USE")) throw instanceErrors.RENAME_NAME_IN_USE({ reason: error.message });
    throw error;
  }
}

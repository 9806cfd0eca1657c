import type { Readable } from "node:stream";
import type { MigrateMachineBody } from "../schema/machine-migrate-api.ts";
import type { EngineClient } from "./engine-client.ts";

/** Progress messages, the last of which has the report as `aux`. */
export async function migrateMachine(
  client: EngineClient,
  machine: string,
  body: MigrateMachineBody,
  signal: AbortSignal,
): Promise<Readable> {
  const path = `/berth/v1/machines/${encodeURIComponent(machine)}/migrate`;
  return (await client.stream("POST", path, { body, signal })).body;
}

/**
 * Snapshots inside the disks' qcow2 files. Not as files on top of one another: so a disk keeps its file and its name whatever is done, a
 * removal merges nothing, and a running machine goes back to one in place, with its connections and its console.
 */
import { randomUUID } from "node:crypto";
import type { OpContext } from "../base/op-context.ts";
import { qemuErrors } from "./errors.ts";
import { runJob } from "./jobs.ts";
import type { QmpClient } from "./qmp-client.ts";
import { listOf, numberOf, objectOf, stringOf } from "./reply.ts";

export interface SnapshotRequest {
  /** What it is called in the disks; unique in each. */
  readonly tag: string;
  /** Nodes of all writable disks; all qcow2. */
  readonly nodes: readonly string[];
  /** For messages. */
  readonly name: string;
}

/** The guest's memory has to be written or read: gigabytes to a slow disk. */
const memoryLimitMs = 15 * 60_000;

/** Disks, memory and devices of one moment. The machine stands still meanwhile. */
export async function saveMachine(ctx: OpContext, qmp: QmpClient, request: SnapshotRequest): Promise<void> {
  await snapshotJob(ctx, qmp, "snapshot-save", request, true);
}

/**
 * Puts a machine with the same devices back to what {@link saveMachine} kept. It runs on if it ran. `SNAPSHOT_NOT_IN_DISK` changes
 * nothing; after another error the machine stands still, neither here nor there.
 */
export async function loadMachine(ctx: OpContext, qmp: QmpClient, request: SnapshotRequest): Promise<void> {
  const has = await tagsOf(ctx, qmp);
  for (const [nth, node] of request.nodes.entries()) {
    const memory = has.get(node)?.get(request.tag);
    if (memory === undefined || (nth === 0 && memory === 0)) {
      throw qemuErrors.SNAPSHOT_NOT_IN_DISK({
        name: request.name,
        disk: node,
        what: memory === 0 ? "memory" : "state",
      });
    }
  }
  await snapshotJob(ctx, qmp, "snapshot-load", request, true);
}

/** Disks that don't have it are left as they are. */
export async function deleteSnapshot(ctx: OpContext, qmp: QmpClient, request: SnapshotRequest): Promise<void> {
  await snapshotJob(ctx, qmp, "snapshot-delete", request, false);
}

/** All disks of one moment, without memory, while the machine runs on: as after a power cut. All of them, or none. */
export async function snapshotDisks(ctx: OpContext, qmp: QmpClient, { tag, nodes }: SnapshotRequest): Promise<void> {
  const type = "blockdev-snapshot-internal-sync";
  const actions = nodes.map((device) => ({ type, data: { device, name: tag } }));
  await qmp.execute(ctx, "transaction", { actions }, 60_000);
}

/** What is in the disks that the machine has now: for each node, the bytes of memory of each tag (0 for a disk's alone). */
export async function tagsOf(
  ctx: OpContext,
  qmp: QmpClient,
): Promise<ReadonlyMap<string, ReadonlyMap<string, number>>> {
  const nodes = listOf(await qmp.execute(ctx, "query-named-block-nodes", { flat: true }), "nodes");
  return new Map(
    nodes.map((each) => {
      const node = objectOf(each, "a node");
      const snapshots = listOf(objectOf(node["image"], "image")["snapshots"] ?? [], "snapshots").map((one) => {
        const snapshot = objectOf(one, "a snapshot");
        const bytes = numberOf(snapshot["vm-state-size"], "vm-state-size");
        return [stringOf(snapshot["name"], "name"), bytes] as const;
      });
      return [stringOf(node["node-name"], "node-name"), new Map(snapshots)];
    }),
  );
}

async function snapshotJob(
  ctx: OpContext,
  qmp: QmpClient,
  command: "snapshot-save" | "snapshot-load" | "snapshot-delete",
  { tag, nodes, name }: SnapshotRequest,
  hasMemory: boolean,
): Promise<void> {
  const memory = hasMemory ? { vmstate: nodes[0] } : {};
  const args = { "job-id": `${command}-${randomUUID()}`, tag, devices: nodes, ...memory };
  await runJob(ctx, qmp, command, args, { what: `${command} of ${name}`, limitMs: memoryLimitMs });
}

/**
 * What the next start of a machine begins with instead of its firmware: memory that is kept in its disks. A file in the instance's
 * directory says so until the machine has it; a guest never runs while that file is there, so that memory and disks stay those of one
 * moment.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import { Check } from "typebox/value";
import type { OpContext } from "../../base/op-context.ts";
import { rm, writeFile } from "../../host/files.ts";
import { publishText } from "../../host/publish.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import { deleteSnapshot, loadMachine } from "../../qemu/snapshots.ts";
import { hardwareErrors } from "./errors.ts";

const ResumePoint = Type.Object({
  /** Of the snapshot in the disks. */
  tag: Type.String(),
  /** For messages. */
  name: Type.String(),
  /** Nodes of the disks that have it; the first has the memory. */
  nodes: Type.Array(Type.String()),
  /** A snapshot of the user's stays; what was saved to be resumed once does not. */
  keep: Type.Boolean(),
});
export type ResumePoint = Static<typeof ResumePoint>;

const fileIn = (dataDir: string) => join(dataDir, "resume.json");

export function hasResumePoint(dataDir: string): boolean {
  return existsSync(fileIn(dataDir));
}

/** Undefined when it starts from its firmware. `RESUME_POINT_INVALID`. */
export async function readResumePoint(dataDir: string): Promise<ResumePoint | undefined> {
  if (!hasResumePoint(dataDir)) return undefined;
  const point: unknown = JSON.parse(await readFile(fileIn(dataDir), "utf8"));
  if (!Check(ResumePoint, point)) throw hardwareErrors.RESUME_POINT_INVALID({ file: fileIn(dataDir) });
  return point;
}

export async function writeResumePoint(dataDir: string, point: ResumePoint): Promise<void> {
  await publishText(fileIn(dataDir), JSON.stringify(point));
}

export async function forgetResumePoint(dataDir: string): Promise<void> {
  await rm(fileIn(dataDir), { force: true });
}

/**
 * Says that the disks may keep memory that nothing goes on from, with the nodes of those disks: written before it is saved, and before what
 * was saved is resumed. Without a resume point beside it, what is there is to be removed: it may be as large as the guest's memory.
 */
const leftIn = (dataDir: string) => join(dataDir, "memory-left");
const Nodes = Type.Array(Type.String());

/** The name in the disks of what is saved to be resumed once. */
export const savedTag = "berth-saved";

export function hasMemoryLeft(dataDir: string): boolean {
  return existsSync(leftIn(dataDir)) && !hasResumePoint(dataDir);
}

export async function noteMemoryLeft(dataDir: string, nodes: readonly string[]): Promise<void> {
  await writeFile(leftIn(dataDir), JSON.stringify(nodes));
}

export async function forgetMemoryLeft(dataDir: string): Promise<void> {
  await rm(leftIn(dataDir), { force: true });
}

/** Of a machine that runs. */
export async function removeMemoryLeft(ctx: OpContext, qmp: QmpClient, dataDir: string, name: string): Promise<void> {
  const nodes = nodesIn(await readFile(leftIn(dataDir), "utf8"));
  // A note that was not written to its end is older than what it would have told of.
  if (nodes.length > 0) await deleteSnapshot(ctx, qmp, { tag: savedTag, nodes, name });
  await forgetMemoryLeft(dataDir);
}

function nodesIn(text: string): readonly string[] {
  try {
    const nodes: unknown = JSON.parse(text);
    return Check(Nodes, nodes) ? nodes : [];
  } catch {
    return [];
  }
}

/** Gives a QEMU that was started without running its guest (`-S`) what it is to go on from, and lets it go on. */
export async function resumeFrom(ctx: OpContext, qmp: QmpClient, dataDir: string, point: ResumePoint): Promise<void> {
  await loadMachine(ctx, qmp, point);
  if (!point.keep) await noteMemoryLeft(dataDir, point.nodes);
  await forgetResumePoint(dataDir);
  await qmp.execute(ctx, "cont");
  if (point.keep) return;
  await removeMemoryLeft(ctx, qmp, dataDir, point.name);
}

/** File verbs on an instance whose root file system is not on this host: its guest does them itself. */
import { posix } from "node:path";
import type { Readable } from "node:stream";
import type { FileStat } from "../../archive/confined-root.ts";
import { decompressed } from "../../archive/decompressed.ts";
import type { Filters } from "../../archive/external-decompressor.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { DriverHandle, InstanceRecord } from "../../schema/instance.ts";
import type { DriverInside, GuestFile, UnpackRequest } from "../driver.ts";
import { instanceErrors } from "../errors.ts";
import type { PathStat } from "../instance-service.ts";
import { driverOf, type Parts } from "../parts.ts";
import { goFileMode } from "./go-file-mode.ts";
import { holdRestingGuest } from "./resting-guests.ts";

export interface Inside {
  readonly driver: DriverInside;
  readonly handle: DriverHandle;
}

/** What is asked until it is disposed of. */
export interface OpenInside extends Inside, AsyncDisposable {}

/**
 * Undefined when the host has its root. One that does not run is asked by way of a machine made for that; `INSIDE_NEEDS_RUNNING` where
 * that can't be, or it is paused.
 */
export async function openInside(
  parts: Parts,
  ctx: OpContext,
  { id, spec }: InstanceRecord,
  verb: string,
): Promise<OpenInside | undefined> {
  const driver = driverOf(parts, spec).inside;
  if (driver === undefined) return undefined;
  const running = runningInside(parts, driver, id);
  if (running !== undefined) return running;
  // It may be starting: then it is waited for.
  using _ = await parts.locks.acquire(id);
  const runsNow = runningInside(parts, driver, id);
  if (runsNow !== undefined) return runsNow;
  const record = parts.records.require(id);
  const { status } = record.state;
  if (status === "removing" || status === "dead") throw instanceErrors.MARKED_FOR_REMOVAL({});
  if (status === "paused" || !driver.rests) throw instanceErrors.INSIDE_NEEDS_RUNNING({ name: record.name, verb });
  const guest = await holdRestingGuest(parts, ctx, record);
  return { driver, handle: guest.handle, [Symbol.asyncDispose]: async () => await guest[Symbol.asyncDispose]() };
}

function runningInside(parts: Parts, driver: DriverInside, id: string): OpenInside | undefined {
  const { handle, status } = parts.records.require(id).state;
  if (handle === null || status !== "running") return undefined;
  return { driver, handle, [Symbol.asyncDispose]: async () => {} };
}

/** Undefined when the host has its root. `INSIDE_NEEDS_RUNNING` when nobody is there to be asked. */
export function insideOf(parts: Parts, record: InstanceRecord, verb: string): Inside | undefined {
  const { inside } = driverOf(parts, record.spec);
  if (inside === undefined) return undefined;
  const { handle, status } = record.state;
  if (handle === null || status !== "running") throw instanceErrors.INSIDE_NEEDS_RUNNING({ name: record.name, verb });
  return { driver: inside, handle };
}

/** For what is not there yet for instances with a root of their own. */
export function refuseInside(parts: Parts, record: InstanceRecord, verb: string): void {
  if (driverOf(parts, record.spec).inside !== undefined) {
    throw instanceErrors.INSIDE_UNSUPPORTED({ name: record.name, verb });
  }
}

/** Undefined when there is no such file. A path that ends in a slash means what a link leads to. */
export async function statInside(ctx: OpContext, inside: Inside, path: string): Promise<PathStat | undefined> {
  const found = await inside.driver.stat(ctx, inside.handle, absolute(path));
  return found === undefined ? undefined : pathStat(path, found);
}

export async function packInside(ctx: OpContext, inside: Inside, path: string, name: string): Promise<Readable> {
  const follow = path.endsWith("/") || path.endsWith("/.");
  return await inside.driver.pack(ctx, inside.handle, { path: absolute(path), name, follow, mounts: true });
}

/** The root alone, without what is mounted over it. */
export async function packRootInside(ctx: OpContext, inside: Inside): Promise<Readable> {
  return await inside.driver.pack(ctx, inside.handle, { path: "/", name: ".", follow: false, mounts: false });
}

/** The archive may be compressed, in the ways that these programs know too. */
export async function unpackInside(
  ctx: OpContext,
  inside: Inside,
  request: UnpackRequest,
  filters: Filters | undefined,
): Promise<void> {
  const tar = await decompressed(ctx, request.tar, filters);
  await inside.driver.unpack(ctx, inside.handle, { ...request, directory: absolute(request.directory), tar });
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `/${path}`;
}

function pathStat(path: string, { mode, size, mtimeSeconds, linkTarget }: GuestFile): PathStat {
  return {
    name: path.endsWith("/.") && path !== "/." ? "." : posix.basename(posix.normalize(`/${path}`)) || "/",
    size,
    mode: goFileMode({ kind: kindOf(mode), mode: mode & 0o7777 }),
    mtime: new Date(mtimeSeconds * 1000).toISOString(),
    linkTarget,
  };
}

/** By the file type bits of st_mode (inode(7)). */
function kindOf(mode: number): FileStat["kind"] {
  switch (mode & 0o170000) {
    case 0o040000:
      return "directory";
    case 0o120000:
      return "symlink";
    case 0o060000:
      return "block";
    case 0o020000:
      return "char";
    case 0o010000:
      return "fifo";
    case 0o140000:
      return "socket";
    default:
      return "file";
  }
}

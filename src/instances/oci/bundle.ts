import { readFileSync } from "node:fs";
import { join } from "node:path";
import { makeSmallDirectory, removeSmallDirectory, writeSmallFile } from "../../host/files.ts";
import type { ProcessIdentity } from "../../host/host.ts";
import type { OciSpec } from "./spec/oci-spec.ts";

/** The files in an instance's run directory: an OCI bundle, and what conmon adds to it. */
export function bundleFiles(dir: string, id: string) {
  return {
    config: join(dir, "config.json"),
    /** The runtime writes the first process's pid here. */
    pid: join(dir, "pid"),
    /** SEQPACKET socket of conmon. */
    attach: join(dir, "attach"),
    /** conmon's control FIFO: "1 ROWS COLUMNS" resizes, "2 0 0" opens the log anew. */
    control: join(dir, "ctl"),
    /** conmon writes the exit code here, by rename, as its last deed. */
    exit: join(dir, id),
    /** Exists when conmon saw the kernel kill for memory. */
    oom: join(dir, "oom"),
    /** Identity of conmon. */
    monitor: join(dir, "monitor.json"),
    runtimeLog: join(dir, "runtime.log"),
  } as const;
}

/** Writes the bundle. No rename is needed: nobody looks for it before it is complete. */
export async function writeBundle(dir: string, id: string, spec: OciSpec): Promise<void> {
  await makeSmallDirectory(dir, 0o700);
  await writeSmallFile(bundleFiles(dir, id).config, JSON.stringify(spec), { mode: 0o600 });
}

/** The specification that the instance was made with; undefined when its bundle is gone. */
export function readBundle(dir: string, id: string): OciSpec | undefined {
  try {
    return JSON.parse(readFileSync(bundleFiles(dir, id).config, "utf8")) as OciSpec;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Notes which process is the monitor, for an engine that finds the bundle without a handle. */
export async function writeMonitor(dir: string, id: string, monitor: ProcessIdentity): Promise<void> {
  await writeSmallFile(bundleFiles(dir, id).monitor, JSON.stringify(monitor), { mode: 0o600 });
}

/** The monitor that was noted; undefined when none was, or when the engine was killed while it wrote. */
export async function readMonitor(dir: string, id: string): Promise<ProcessIdentity | undefined> {
  const text = await readIfThere(bundleFiles(dir, id).monitor);
  const [, pid, startTime] = /^{"pid":(\d+),"startTime":(\d+)}$/.exec(text ?? "") ?? [];
  return pid === undefined ? undefined : { pid: Number(pid), startTime: Number(startTime) };
}

/** Text of a small file; undefined when there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Removes a directory that only the driver writes to. Missing is no error. */
export async function removeDirectory(dir: string): Promise<void> {
  await removeSmallDirectory(dir);
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}

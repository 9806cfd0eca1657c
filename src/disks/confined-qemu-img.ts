/**
 * qemu-img behind a wall: it parses what strangers have written. It runs as a user of its own without any capability, with limits on
 * memory, time and the size of what it writes, and sees disks as open descriptors only: it could open no other file of the engine's.
 */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { Socket } from "node:net";
import { finished } from "node:stream/promises";
import { messageOf } from "../base/errors.ts";
import { type OpContext, withTimeout } from "../base/op-context.ts";
import type { ChildFd, Processes } from "../host/host.ts";
import { withSystemDirectories } from "../host/process/program-path.ts";
import { diskErrors } from "./errors.ts";
import type { DiskFormat, DiskImage } from "./virtual-disks.ts";

const SIGKILL = 9;
const maxOutputBytes = 4 * 1024 * 1024;
const memoryBytes = 2 * 1024 ** 3;
/** Files in a chain: QEMU itself takes hundreds, and each costs time with every read. */
const maxChain = 32;
const firstFd = 3;

/** The user and group that the tool runs as: nobody else's, in no list of users. Disk files belong to this group. */
export const diskToolId = 1_111_839_316;

export interface Tool {
  /** Words after "qemu-img". */
  readonly words: readonly string[];
  readonly files: readonly FileHandle[];
  /** What it does, for messages. */
  readonly verb: string;
  /** What it does it to, for messages. */
  readonly name: string;
  readonly timeoutMs: number;
  /** Bytes that a file may come to have. */
  readonly maxFileBytes?: number;
  /** Each piece of its output, as it comes. */
  readonly onOutput?: (text: string) => void;
}

export interface ToolResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs it to its end; killed when the time is over or `ctx` is aborted. A non-zero code is not an error here. */
export async function runConfined(
  ctx: OpContext,
  processes: Pick<Processes, "spawn" | "signal" | "which">,
  tool: Tool,
): Promise<ToolResult> {
  const fds: Record<number, ChildFd> = {
    1: { kind: "pipe", parent: "reads" },
    2: { kind: "pipe", parent: "reads" },
  };
  tool.files.forEach((file, index) => {
    fds[firstFd + index] = { kind: "fd", fd: file.fd };
  });
  const timed = withTimeout(ctx, tool.timeoutMs);
  const argv = confinedArgv(processes, tool, await userFor(tool.files));
  const env = { PATH: withSystemDirectories(undefined), LC_ALL: "C" };
  const child = await processes.spawn(timed, { argv, env, cwd: "/", fds });
  const kill = () => processes.signal(child.identity, SIGKILL);
  const stdout = collect(child.pipes[1], kill, tool.onOutput);
  const stderr = collect(child.pipes[2], kill);
  timed.signal.addEventListener("abort", kill, { once: true });
  if (timed.signal.aborted) kill();
  try {
    const status = await child.exited;
    await Promise.all([stdout.end, stderr.end]);
    ctx.signal.throwIfAborted();
    if (timed.signal.aborted) {
      const { name, verb } = tool;
      throw diskErrors.DISK_TOOL_TIMEOUT({ file: name, verb, seconds: Math.round(tool.timeoutMs / 1000) });
    }
    const code = status.signal === 0 ? status.code : 128 + status.signal;
    return { code, stdout: stdout.text(), stderr: stderr.text() };
  } finally {
    timed.signal.removeEventListener("abort", kill);
  }
}

/** A file of a tool's list, as a path that the tool can open. */
export function descriptorPath(index: number): string {
  return `/proc/self/fd/${firstFd + index}`;
}

/** `disk` with all that is behind it, as the tool's list of files and as the one word that names it, explicit about each part. */
export class OpenChain implements AsyncDisposable {
  readonly files: FileHandle[] = [];
  #word = "";

  static async open(disk: DiskImage, access: "read" | "write"): Promise<OpenChain> {
    const chain = new OpenChain();
    try {
      chain.#word = `json:${JSON.stringify(await chain.#node(disk, access))}`;
      return chain;
    } catch (error) {
      await chain[Symbol.asyncDispose]();
      throw error;
    }
  }

  get word(): string {
    return this.#word;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.files.splice(0)) await file.close();
  }

  async #node(disk: DiskImage, access: "read" | "write"): Promise<object> {
    const index = this.files.length;
    if (index >= maxChain) {
      throw diskErrors.DISK_TOOL_FAILED({
        file: disk.file,
        verb: "open",
        reason: `more than ${maxChain} files in a chain`,
      });
    }
    const file = await openDisk(disk.file, access);
    this.files.push(file);
    await admitTool(file, disk.file, access);
    const backing = disk.backing === undefined ? null : await this.#node(disk.backing, "read");
    return {
      driver: disk.format,
      file: { driver: "file", filename: descriptorPath(index) },
      ...(hasBacking(disk.format) ? { backing } : {}),
    };
  }
}

/** An open disk file. `DISK_NOT_FOUND`, `DISK_FORMAT_UNSUPPORTED` when it is no file. */
export async function openDisk(path: string, access: "read" | "write"): Promise<FileHandle> {
  const flags = access === "read" ? constants.O_RDONLY : constants.O_RDWR;
  let file: FileHandle;
  try {
    // Without waiting for the other end of a pipe.
    file = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT") throw diskErrors.DISK_NOT_FOUND({ file: path }, { cause: error });
    if (code === "ELOOP" || code === "EISDIR") throw notAFile(path);
    throw error;
  }
  try {
    if (!(await file.stat()).isFile()) throw notAFile(path);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Sees to it that the tool can open the file, which it does by its own rights: see {@link userFor}. A file of root's gets the tool's group,
 * also one that QEMU has made for a machine. Others still can't reach it in its directory. `DISK_UNREADABLE`.
 */
export async function admitTool(file: FileHandle, path: string, access: "read" | "write"): Promise<void> {
  if (process.geteuid?.() !== 0) return;
  const { gid, uid, mode } = await file.stat();
  const needed = access === "read" ? 0o040 : 0o060;
  if (gid === diskToolId && (mode & needed) === needed) return;
  if (access === "read" && ((mode & 0o004) !== 0 || (uid !== 0 && (mode & 0o400) !== 0))) return;
  try {
    if (gid !== diskToolId) await file.chown(uid, diskToolId);
    await file.chmod((mode & 0o777) | needed);
  } catch (error) {
    throw diskErrors.DISK_UNREADABLE({ file: path, reason: messageOf(error) }, { cause: error });
  }
}

/** Whom the tool runs as: itself, or whoever owns a file that is nobody else's to read (107 in images of KubeVirt's, say). Never root. */
async function userFor(files: readonly FileHandle[]): Promise<number> {
  for (const file of files) {
    const { uid, gid, mode } = await file.stat();
    const isOpen = (mode & 0o004) !== 0 || (gid === diskToolId && (mode & 0o040) !== 0);
    if (!isOpen && uid !== 0 && (mode & 0o400) !== 0) return uid;
  }
  return diskToolId;
}

function notAFile(file: string) {
  return diskErrors.DISK_FORMAT_UNSUPPORTED({ file, reason: "it is no regular file" });
}

function hasBacking(format: DiskFormat): boolean {
  return format === "qcow2" || format === "vmdk";
}

function confinedArgv(
  processes: Pick<Processes, "which">,
  { words, timeoutMs, maxFileBytes }: Tool,
  uid: number,
): readonly [string, ...string[]] {
  const program = (name: string) => {
    const path = processes.which(name);
    if (path === undefined) throw diskErrors.DISK_TOOL_MISSING({ program: name });
    return path;
  };
  const limits = [
    `--as=${memoryBytes}`,
    `--cpu=${Math.ceil(timeoutMs / 1000)}`,
    "--nofile=256",
    "--core=0",
    ...(maxFileBytes === undefined ? [] : [`--fsize=${maxFileBytes}`]),
  ];
  const user = [
    `--reuid=${uid}`,
    `--regid=${diskToolId}`,
    "--clear-groups",
    "--no-new-privs",
    "--bounding-set=-all",
    "--inh-caps=-all",
  ];
  const confined = process.geteuid?.() === 0 ? [program("setpriv"), ...user, "--"] : [];
  return [program("prlimit"), ...limits, "--", ...confined, program("qemu-img"), ...words];
}

function collect(fd: number | undefined, tooMuch: () => void, onOutput?: (text: string) => void) {
  const socket = new Socket({ fd: fd ?? -1, readable: true, writable: false });
  const chunks: Buffer[] = [];
  let length = 0;
  socket.on("data", (chunk: Buffer) => {
    length += chunk.length;
    onOutput?.(chunk.toString("latin1"));
    if (length > maxOutputBytes) tooMuch();
    else chunks.push(chunk);
  });
  const end = finished(socket, { writable: false }).catch(() => {});
  return { end, text: () => Buffer.concat(chunks).toString("utf8") };
}

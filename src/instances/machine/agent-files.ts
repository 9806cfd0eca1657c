/**
 * Files and processes of a guest of its own, by qemu-guest-agent and the guest's own programs: an archive is written to a temporary
 * file there, since a command's output does not stream. The guest is a POSIX system, or says that it has no such program.
 */
import { posix } from "node:path";
import { Readable } from "node:stream";
import { isBerthError, messageOf } from "../../base/errors.ts";
import { cleanupContext, type OpContext } from "../../base/op-context.ts";
import type { DriverHandle } from "../../schema/instance.ts";
import { type GuestExit, runInGuest } from "../../qemu/guest-exec.ts";
import { readGuestFile, writeGuestFile } from "../../qemu/guest-files.ts";
import type { GuestAgent } from "../../qemu/qga-client.ts";
import type { DriverInside, GuestFile, GuestProcess, PackRequest, UnpackRequest } from "../driver.ts";
import { hardwareErrors } from "./errors.ts";

const environment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"];

export function agentInside(agentOf: (handle: DriverHandle) => GuestAgent): DriverInside {
  return {
    rests: false,
    stat: (ctx, handle, path) => statByAgent(ctx, agentOf(handle), path),
    pack: (ctx, handle, request) => packByAgent(ctx, agentOf(handle), request),
    unpack: (ctx, handle, request) => unpackByAgent(ctx, agentOf(handle), request),
    changes: () => Promise.reject(noImage()),
    packChanges: () => Promise.reject(noImage()),
    processes: (ctx, handle) => processesByAgent(ctx, agentOf(handle)),
  };
}

function noImage() {
  const what = "changes against an image";
  return hardwareErrors.HARDWARE_UNSUPPORTED({
    what,
    why: "it was made from a disk; 'berth convert' makes an image of it",
  });
}

async function statByAgent(ctx: OpContext, agent: GuestAgent, path: string): Promise<GuestFile | undefined> {
  const script = 'stat -c "%f %s %Y" -- "$1" && if [ -h "$1" ]; then readlink -- "$1"; fi';
  const exit = await run(ctx, agent, "look at a file", ["/bin/sh", "-c", script, "sh", path]);
  if (exit.code !== 0) {
    const complaint = exit.stderr.toString();
    if (/No such file or directory|Not a directory/.test(complaint)) return undefined;
    throw refusal(`look at ${path}`, complaint);
  }
  const [first = "", ...rest] = exit.stdout.toString().replace(/\n$/, "").split("\n");
  const [mode = "", size, mtime] = first.split(" ");
  return {
    mode: Number.parseInt(mode, 16),
    size: Number(size),
    mtimeSeconds: Number(mtime),
    linkTarget: rest.join("\n"),
  };
}

async function packByAgent(ctx: OpContext, agent: GuestAgent, request: PackRequest): Promise<Readable> {
  const verb = `pack ${request.path}`;
  const path = request.follow ? await realPath(ctx, agent, request.path) : posix.normalize(request.path);
  const archive = await temporaryFile(ctx, agent);
  try {
    await succeed(ctx, agent, verb, ["tar", "-cf", archive, ...packArguments(path, request)]);
  } catch (error) {
    await removeFile(ctx, agent, archive);
    throw error;
  }
  return Readable.from(readAndRemove(ctx, agent, archive), { objectMode: false });
}

/** Of tar, for entries that begin with `name`: another one than the file's own, and one file system alone, are GNU tar's to do. */
export function packArguments(path: string, { name, mounts }: Pick<PackRequest, "name" | "mounts">): readonly string[] {
  const base = posix.basename(path);
  const what = base === "" ? "." : base;
  // Neither the names in hard links nor those in symbolic ones begin with it by chance.
  const renamed = `flags=rh;s,^${pattern(what)}\\(/\\|$\\),${replacement(name)}\\1,`;
  return [
    "--numeric-owner",
    ...(mounts ? [] : ["--one-file-system"]),
    ...(name === what ? [] : [`--transform=${renamed}`]),
    "-C",
    posix.dirname(path),
    "--",
    what,
  ];
}

const pattern = (text: string) => text.replaceAll(/[\\.*[\]^$,]/g, String.raw`\$&`);
const replacement = (text: string) => text.replaceAll(/[\\&,]/g, String.raw`\$&`);

async function* readAndRemove(ctx: OpContext, agent: GuestAgent, archive: string): AsyncGenerator<Uint8Array> {
  try {
    yield* readGuestFile(ctx, agent, archive);
  } finally {
    await removeFile(ctx, agent, archive);
  }
}

async function unpackByAgent(ctx: OpContext, agent: GuestAgent, request: UnpackRequest): Promise<void> {
  const { directory, tar, owner } = request;
  // Whose they are is in the archive: an instance that is a machine has no user of its own.
  if (owner !== undefined) {
    throw hardwareErrors.HARDWARE_UNSUPPORTED({
      what: "files of another owner",
      why: "the guest's tar has no say in it",
    });
  }
  const archive = await temporaryFile(ctx, agent);
  try {
    await writeGuestFile(ctx, agent, archive, tar);
    // A directory with files in it is never replaced, whatever was asked for: tar's option for that empties all that it meets.
    const argv = ["tar", "--numeric-owner", "-C", directory, "-xpf", archive] as const;
    await succeed(ctx, agent, `unpack the archive in ${directory}`, argv);
  } finally {
    await removeFile(ctx, agent, archive);
  }
}

async function processesByAgent(ctx: OpContext, agent: GuestAgent): Promise<readonly GuestProcess[]> {
  const argv = ["ps", "-e", "-o", "pid=,ppid=,uid=,cputimes=,args="] as const;
  const { stdout } = await succeed(ctx, agent, "list its processes", argv);
  return stdout
    .toString()
    .split("\n")
    .flatMap((line): readonly GuestProcess[] => {
      const [, pid, ppid, uid, seconds, command] = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s(.*)$/.exec(line) ?? [];
      if (command === undefined) return [];
      return [{ pid: Number(pid), ppid: Number(ppid), uid: Number(uid), cpuSeconds: Number(seconds), command }];
    });
}

async function realPath(ctx: OpContext, agent: GuestAgent, path: string): Promise<string> {
  const { stdout } = await succeed(ctx, agent, `find ${path}`, ["readlink", "-f", "--", path]);
  return stdout.toString().replace(/\n$/, "");
}

async function temporaryFile(ctx: OpContext, agent: GuestAgent): Promise<string> {
  const { stdout } = await succeed(ctx, agent, "make a temporary file", ["mktemp", "/var/tmp/berth-XXXXXXXX"]);
  return stdout.toString().trim();
}

async function removeFile(ctx: OpContext, agent: GuestAgent, path: string): Promise<void> {
  await run(cleanupContext(ctx), agent, "remove a temporary file", ["rm", "-f", "--", path]);
}

/** Runs it, and throws `GUEST_FILES_FAILED` with what it said when it fails. */
async function succeed(
  ctx: OpContext,
  agent: GuestAgent,
  verb: string,
  argv: readonly [string, ...string[]],
): Promise<GuestExit> {
  const exit = await run(ctx, agent, verb, argv);
  if (exit.code !== 0) throw refusal(verb, exit.stderr.toString());
  return exit;
}

async function run(
  ctx: OpContext,
  agent: GuestAgent,
  verb: string,
  argv: readonly [string, ...string[]],
): Promise<GuestExit> {
  try {
    return await runInGuest(ctx, agent, { argv, env: environment });
  } catch (error) {
    // An agent that is not there, or does not answer, is told as that.
    if (!isBerthError(error, "QGA_REFUSED")) throw error;
    throw hardwareErrors.GUEST_FILES_FAILED({ verb, reason: messageOf(error) }, { cause: error });
  }
}

function refusal(verb: string, complaint: string) {
  const lines = complaint.trim().split("\n");
  return hardwareErrors.GUEST_FILES_FAILED({ verb, reason: lines.slice(-3).join("; ") });
}

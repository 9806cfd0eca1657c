/** QEMU with a machine's own line, and without an engine: what a cold boot can't be quicker than. */
import { spawn } from "node:child_process";
import { copyFileSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface RawMachine {
  readonly argv: readonly string[];
  readonly directory: string;
  /** An empty scratch disk, to be copied for each boot. */
  readonly scratch: string;
}

const HELLO = 1;
const bootMs = 120_000;

/**
 * The line of the QEMU among `pids`, with the files that its jail shows it under the names that they have outside, and with sockets of its own
 * where it has descriptors of its parent's. Its network is QEMU's own, since there is nobody to make a tap.
 */
export async function rawMachineLike(
  pids: readonly number[],
  directory: string,
  dataRoot: string,
): Promise<RawMachine> {
  for (const pid of pids) {
    const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
    if (!/(^|\/)qemu-system-/.test(words[0] ?? "")) continue;
    const outside = mountedFiles(pid, dataRoot);
    const scratch = join(directory, "raw-pristine.qcow2");
    const inside = outside.get("/berth/scratch");
    if (inside === undefined) throw new Error("the machine has no scratch disk");
    copyFileSync(inside, scratch);
    const argv = words.map((word) => rewrite(word, outside, directory));
    return { argv, directory, scratch };
  }
  throw new Error("there is no QEMU among the machine's processes");
}

/** Milliseconds from its start until the agent in the guest says hello. */
export async function bootRaw({ argv, directory, scratch }: RawMachine, signal: AbortSignal): Promise<number> {
  copyFileSync(scratch, join(directory, "raw-scratch.qcow2"));
  for (const name of ["agent", "console", "control", "qmp"])
    rmSync(join(directory, `raw-${name}.sock`), { force: true });
  const started = performance.now();
  const [program = "", ...words] = argv;
  const child = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"] });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  let complaint = "";
  child.stderr.on("data", (text: Buffer) => (complaint += text.toString()));
  try {
    while (performance.now() - started < bootMs) {
      if (child.exitCode !== null) throw new Error(`QEMU ended: ${complaint.trim()}`);
      if (await saysHello(join(directory, "raw-agent.sock"))) return performance.now() - started;
      await sleep(2, undefined, { signal });
    }
    throw new Error("the guest's agent did not answer");
  } finally {
    child.kill("SIGKILL");
    await exited;
  }
}

/** False when nobody listens yet. The port keeps what is sent until the agent opens it. */
async function saysHello(path: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  const late = setTimeout(() => reject(new Error("the guest's agent did not answer")), bootMs);
  const hello = Buffer.alloc(12);
  hello.writeUInt8(HELLO, 8);
  socket.once("connect", () => socket.write(hello));
  socket.once("data", () => resolve(true));
  socket.once("error", () => resolve(false));
  try {
    return await promise;
  } finally {
    clearTimeout(late);
    socket.destroy();
  }
}

function rewrite(word: string, outside: ReadonlyMap<string, string>, directory: string): string {
  const socket = /^socket,id=(\w+),(fd=\d+|path=.*)$/.exec(word);
  if (socket !== null)
    return `socket,id=${socket[1]},path=${join(directory, `raw-${socket[1]}.sock`)},server=on,wait=off`;
  const tap = /^tap,id=(\w+),fd=\d+$/.exec(word);
  if (tap !== null) return `user,id=${tap[1]},restrict=on`;
  // Its backing file is named in the disk itself, as the jail has it.
  if (word.startsWith("driver=qcow2,node-name=scratch,")) {
    const blank = outside.get("/berth/blank") ?? "";
    return `${word},backing.driver=raw,backing.read-only=on,backing.file.driver=file,backing.file.filename=${blank}`;
  }
  return word.replaceAll(/\/berth\/\w+/g, (path) =>
    path === "/berth/scratch" ? join(directory, "raw-scratch.qcow2") : (outside.get(path) ?? path),
  );
}

/** What a jail has bound, by its place there: proc_pid_mountinfo(5). Sources are told from the root of their file system. */
function mountedFiles(pid: number, dataRoot: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const line of readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n")) {
    const [, , , root = "", target = ""] = line.split(" ");
    if (!target.startsWith("/berth/")) continue;
    const at = root.indexOf("/machines/") === -1 ? root.indexOf("/instances/") : root.indexOf("/machines/");
    if (at !== -1) found.set(target, join(dataRoot, root.slice(at)));
  }
  return found;
}

/** Commands and files of a guest of its own, through qemu-ga itself: it runs here, on this host, in place of a guest. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { extract, type Pack, pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import type { DriverInside, ExecRequest, OutputFrame } from "../../../src/instances/driver.ts";
import { execByAgent } from "../../../src/instances/machine/agent-exec.ts";
import { agentInside } from "../../../src/instances/machine/agent-files.ts";
import { GuestAgent } from "../../../src/qemu/qga-client.ts";

const ctx = background();
const handle = { driver: "machine", version: 1, state: {} };
const request: ExecRequest = {
  execId: "exec",
  argv: ["true"],
  env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
  user: "",
  groupAdd: [],
  workingDir: "",
  tty: false,
  stdin: false,
  privileged: false,
  detached: false,
};

let dir: string;
let child: ChildProcess;
let agent: GuestAgent;
let inside: DriverInside;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "berth-agent-"));
  const socket = join(dir, "qga.sock");
  const denied = "guest-shutdown,guest-set-time,guest-fsfreeze-freeze,guest-set-vcpus,guest-set-memory-blocks";
  const words = ["-m", "unix-listen", "-p", socket, "-t", dir, "-f", join(dir, "pid"), "-b", denied];
  child = spawn(process.env["BERTH_TEST_QEMU_GA"] ?? "qemu-ga", words, { cwd: "/", stdio: "ignore" });
  for (let n = 0; n < 1000 && !existsSync(socket); n++) await delay(10);
  agent = new GuestAgent(socket);
  inside = agentInside(() => agent);
});
afterAll(async () => {
  agent.close();
  const ended = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGKILL");
  await ended;
  rmSync(dir, { recursive: true });
});

async function run(change: Partial<ExecRequest>, input?: string) {
  const task = await execByAgent(ctx, agent, "1d", { ...request, ...change });
  if (input !== undefined) task.io.stdin?.end(input);
  const heard = { stdout: "", stderr: "" };
  for await (const frame of task.io.output) {
    const { stream, data }: OutputFrame = frame;
    heard[stream] += Buffer.from(data).toString();
  }
  return { code: await task.exited, ...heard };
}

describe("execByAgent", () => {
  it("runs a command with its environment, and has its output and exit code", async () => {
    const script = 'echo "$A $(pwd)"; echo err >&2; exit 3';
    const env = [...request.env, "A=b c"];
    expect(await run({ argv: ["sh", "-c", script], env })).toEqual({ code: 3, stdout: "b c /\n", stderr: "err\n" });
  });

  it("runs it in a directory, as another user", async () => {
    const argv = ["sh", "-c", "pwd; id -un; id -gn"];
    expect((await run({ argv, workingDir: "/usr", user: "nobody" })).stdout).toBe("/usr\nnobody\nnogroup\n");
    expect((await run({ argv, user: "nobody:daemon" })).stdout).toContain("nobody\ndaemon\n");
  });

  it("gives it its input once that has ended", async () => {
    expect(await run({ argv: ["cat"], stdin: true }, "given")).toEqual({ code: 0, stdout: "given", stderr: "" });
  });

  it("tells a command that is not there, and a signal, as a shell does", async () => {
    await expect(run({ argv: ["no-such-command"] })).rejects.toMatchObject({ code: "COMMAND_NOT_FOUND" });
    expect(await run({ argv: ["/no/such"], stdin: true }, "")).toMatchObject({ code: 127 });
    expect((await run({ argv: ["sh", "-c", "kill -9 $$"] })).code).toBe(137);
  });

  it("can be signalled, and has no terminal", async () => {
    const task = await execByAgent(ctx, agent, "1d", { ...request, argv: ["sleep", "1000"] });
    await task.signal(15);
    expect(await task.exited).toBe(143);
    await expect(run({ tty: true })).rejects.toMatchObject({ code: "AGENT_HAS_NO_TERMINAL" });
  });
});

describe("agentInside", () => {
  async function entriesOf(tar: Readable): Promise<Readonly<Record<string, string>>> {
    const found: Record<string, string> = {};
    for await (const entry of tar.pipe(extract())) {
      const pieces: Buffer[] = [];
      for await (const piece of entry) pieces.push(piece as Buffer);
      found[entry.header.name] = entry.header.linkname ?? Buffer.concat(pieces).toString();
    }
    return found;
  }

  it("looks at files, and does not follow the last link", async () => {
    const file = join(dir, "a file");
    writeFileSync(file, "hello", { mode: 0o640 });
    symlinkSync("a file", join(dir, "link"));
    expect(await inside.stat(ctx, handle, file)).toMatchObject({ mode: 0o100640, size: 5, linkTarget: "" });
    expect(await inside.stat(ctx, handle, join(dir, "link"))).toMatchObject({ linkTarget: "a file" });
    expect(await inside.stat(ctx, handle, join(dir, "none"))).toBeUndefined();
    expect(await inside.stat(ctx, handle, join(file, "x"))).toBeUndefined();
    expect((await inside.stat(ctx, handle, "/"))?.mode).toBe(0o40755);
  });

  it("packs a tree under the name that is wanted, and leaves no archive behind", async () => {
    const tree = join(dir, "tree.d");
    mkdirSync(join(tree, "sub"), { recursive: true });
    writeFileSync(join(tree, "sub", "tree.d"), "x".repeat(200_000));
    symlinkSync("tree.d/sub", join(tree, "to"));
    const before = readdirSync("/var/tmp").length;
    const as = async (name: string, path = tree, follow = false) =>
      await entriesOf(await inside.pack(ctx, handle, { path, name, follow, mounts: true }));
    const content = "x".repeat(200_000);
    const whole = { "tree.d/": "", "tree.d/sub/": "", "tree.d/sub/tree.d": content, "tree.d/to": "tree.d/sub" };
    expect(await as("tree.d")).toEqual(whole);
    expect(await as("&,x")).toEqual({ "&,x/": "", "&,x/sub/": "", "&,x/sub/tree.d": content, "&,x/to": "tree.d/sub" });
    expect(Object.keys(await as(".")).sort()).toEqual(["./", "./sub/", "./sub/tree.d", "./to"]);
    symlinkSync("tree.d", join(dir, "to-tree"));
    expect(Object.keys(await as("to-tree", join(dir, "to-tree")))).toEqual(["to-tree"]);
    expect(Object.keys(await as("to-tree", join(dir, "to-tree/"), true))).toContain("to-tree/sub/tree.d");
    expect(readdirSync("/var/tmp")).toHaveLength(before);
  });

  const unpacking = (directory: string, tar: Pack) => ({
    directory,
    tar: Readable.from(tar),
    owner: undefined,
    replace: false,
  });

  it("unpacks what it is given, and says what is wrong with it", async () => {
    const target = join(dir, "target");
    mkdirSync(target);
    const tar = pack();
    tar.entry({ name: "one", mode: 0o600, uid: 1, gid: 2 }, "1".repeat(100_000));
    tar.finalize();
    await inside.unpack(ctx, handle, unpacking(target, tar));
    expect(readFileSync(join(target, "one"), "utf8")).toHaveLength(100_000);
    const other = pack();
    other.entry({ name: "one" }, "1");
    other.finalize();
    await expect(inside.unpack(ctx, handle, unpacking(join(dir, "none"), other))).rejects.toMatchObject({
      code: "GUEST_FILES_FAILED",
      message: expect.stringContaining("No such file or directory"),
    });
  });

  it("lists processes", async () => {
    const found = await inside.processes(ctx, handle);
    expect(found.find(({ pid }) => pid === child.pid)).toMatchObject({ uid: 0, ppid: process.pid });
  });
});

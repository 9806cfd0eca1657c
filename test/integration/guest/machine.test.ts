/** A real machine under emulation: what the agent's test in a namespace can't show. One boot, and a template with its clone. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { silentLogger } from "../../../src/base/logger.ts";
import { background } from "../../../src/base/op-context.ts";
import { MachineDisks } from "../../../src/guest/disks.ts";
import { encodeFields, encodeFrame, type Field, frameType } from "../../../src/guest/frames.ts";
import { type GuestKit, GuestKits } from "../../../src/guest/guest-kit.ts";
import type { Host } from "../../../src/host/host.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";
import { guestKernelPackage } from "../../support/guest-kernel.ts";
import { AgentClient } from "./agent-client.ts";

const tree = mkdtempSync(join(tmpdir(), "berth-machine-"));
const image = join(tree, "image");
const ctx = background();
const scratchMiB = 1024;
let host: Host;
let kit: GuestKit;
let disks: readonly Field[];
let machines: MachineDisks;
let blank: string;
const running: ChildProcess[] = [];

const kernelPackage = guestKernelPackage();

beforeAll(async () => {
  execFileSync("sh", ["guest/build.sh", tree]);
  for (const directory of ["bin", "etc", "proc"]) mkdirSync(join(image, directory), { recursive: true });
  copyFileSync("/bin/busybox", join(image, "bin/busybox"));
  chmodSync(join(image, "bin/busybox"), 0o755);
  for (const name of ["sh", "cat", "hostname", "dd", "sleep"]) symlinkSync("busybox", join(image, "bin", name));
  host = await createLinuxHost({ log: silentLogger });
  kit = await new GuestKits({ host, root: tree, agent: join(tree, "agent"), kernelPackage }).get(ctx);
  machines = new MachineDisks({ host, root: tree });
  blank = await machines.blank(ctx, scratchMiB);
  disks = [["image", await machines.image(ctx, { digest: "busybox", directory: image })]];
});

afterAll(async () => {
  for (const child of running) if (child.exitCode === null) child.kill("SIGKILL");
  await host.close();
  rmSync(tree, { recursive: true });
});

/** Starts berth-vmm with these fields in a directory of its own. */
async function start(name: string, fields: readonly Field[], scratch = join(tree, `${name}.qcow2`)) {
  const run = join(tree, name);
  mkdirSync(run);
  if (!existsSync(scratch)) await machines.scratch(scratch, blank, scratchMiB);
  const spec = join(run, "spec");
  const common: readonly Field[] = [
    ["run", run],
    ["memory", "128"],
    ["scratch", scratch],
    ["run.env", "PATH=/bin"],
  ];
  writeFileSync(spec, encodeFields([...common, ...disks, ...fields]));
  const child = spawn(join(tree, "berth-vmm"), ["run", spec], { stdio: ["pipe", "pipe", "pipe"] });
  running.push(child);
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return { run, child, exited, stdout: text(child.stdout), stderr: text(child.stderr) };
}

const booted = (): readonly Field[] => [
  ["kernel", kit.kernel],
  ["initrd", kit.initrd],
];
const sh = (script: string): readonly Field[] => [
  ["run.arg", "sh"],
  ["run.arg", "-c"],
  ["run.arg", script],
];

async function clientOf(run: string): Promise<AgentClient> {
  const path = join(run, "agent.sock");
  while (!existsSync(path)) await delay(20);
  return new AgentClient(connect(path));
}

test("an image boots, runs with its streams, takes commands by the socket, and ends with its exit code", async () => {
  const machine = await start("first", [
    ...booted(),
    ...sh("hostname; cat; echo kept > /kept; exit 7"),
    ["run.stdin", "1"],
    ["configure.hostname", "web1"],
  ]);
  const client = await clientOf(machine.run);
  expect((await client.call([["verb", "started"]])).fields).toEqual({});
  expect((await client.sh("cat; exit 3")).fields).toEqual({ code: "3" });
  expect((await client.call([["verb", "stats"]])).fields).toMatchObject({ pids: "2" });
  // Many windows full.
  const big = await client.sh("dd if=/dev/zero bs=64k count=128 2>/dev/null");
  expect(big.stdout.length).toBe(8 * 1024 * 1024);
  const spec = join(machine.run, "exec");
  writeFileSync(
    spec,
    encodeFields([
      ["run.arg", "sh"],
      ["run.arg", "-c"],
      ["run.arg", "cat; exit 5"],
      ["run.stdin", "1"],
      ["run.env", "PATH=/bin"],
    ]),
  );
  const exec = spawn(join(tree, "berth-vmm"), ["exec", join(machine.run, "agent.sock"), spec]);
  exec.stdin.end("by a client\n");
  expect([
    await text(exec.stdout),
    exec.exitCode ?? (await new Promise((resolve) => exec.once("exit", resolve))),
  ]).toEqual(["by a client\n", 5]);
  machine.child.stdin?.end("typed\n");
  expect(await machine.exited).toBe(7);
  expect(await machine.stdout).toBe("web1\ntyped\n");
  expect(existsSync(join(machine.run, "agent.sock"))).toBe(false);
  execFileSync("qemu-img", ["check", "-q", join(tree, "first.qcow2")]);
});

test("a command that is not there is 127, and the driver can read why", async () => {
  const machine = await start("missing", [...booted(), ["run.arg", "nosuch"]]);
  expect(await machine.exited).toBe(127);
  // Not on the streams, which are its user's.
  expect(await machine.stderr).toBe("");
  expect(readFileSync(join(machine.run, "failure"), "utf8")).toMatch(
    /^kind=not-found\0message=exec: nosuch: No such file or directory\0/,
  );
});

test("a machine that dies is reported with its last words", async () => {
  const machine = await start("broken", [["kernel", "/nonexistent"], ["initrd", kit.initrd], ...sh("true")]);
  expect(await machine.exited).toBe(125);
  expect(await machine.stderr).toMatch(/ended unexpectedly: QEMU with exit code 1[^]*could not open kernel file/);
  const killed = await start("killed", [...booted(), ...sh("sleep 100")]);
  await (await clientOf(killed.run)).call([["verb", "started"]]);
  const [qemu] = execFileSync("pgrep", ["-P", String(killed.child.pid)], { encoding: "utf8" }).split("\n");
  process.kill(Number(qemu), "SIGKILL");
  expect(await killed.exited).toBe(137);
});

test("a template's clones have their own names, clocks and files, and the first one's memory is untouched", async () => {
  const scratch = join(tree, "template.qcow2");
  const ram = join(tree, "ram");
  const state = join(tree, "state");
  const saving = await start("save", [...booted(), ["ram", ram], ["ram.share", "1"], ["save", state]], scratch);
  expect([await saving.exited, await saving.stderr]).toEqual([0, ""]);
  for (const name of ["clone1", "clone2"]) {
    const own = join(tree, `${name}.qcow2`);
    copyFileSync(scratch, own);
    const clone = await start(
      name,
      [
        ["ram", ram],
        ["restore", state],
        ["configure.hostname", name],
        ...sh("hostname; cat /own; echo mine > /own; cat /own"),
      ],
      own,
    );
    expect([await clone.exited, await clone.stdout]).toEqual([0, `${name}\nmine\n`]);
  }
});

test("a client that says nonsense is dropped, and the machine goes on", async () => {
  const machine = await start("nonsense", [...booted(), ...sh("cat"), ["run.stdin", "1"]]);
  const path = join(machine.run, "agent.sock");
  while (!existsSync(path)) await delay(20);
  const rude = connect(path);
  rude.write(Buffer.alloc(64, 0xff));
  await new Promise((resolve) => rude.once("close", resolve));
  const client = await clientOf(machine.run);
  client.send(encodeFrame(99, frameType.signal, Buffer.alloc(4)));
  expect((await client.call([["verb", "started"]])).fields).toEqual({});
  machine.child.stdin?.end();
  expect(await machine.exited).toBe(0);
});

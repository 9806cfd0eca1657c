import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { silentLogger } from "../../base/logger.ts";
import { background } from "../../base/op-context.ts";
import { encodeFields, type Field, frameType } from "../../guest/frames.ts";
import { Templates } from "../../guest/templates.ts";
import { FakeHost } from "../../host/fake/fake-host.ts";
import type { DriverHandle } from "../../schema/instance.ts";
import { unlimited } from "../../schema/resources.ts";
import type { Driver, Recovered } from "../driver.ts";
import { FakeAgent, type FakeAgentClient } from "../fake/fake-agent.ts";
import { instanceSpec } from "../fake/instance-spec.ts";
import { handleOf } from "./handle.ts";
import { type DriverParts, QemuDriver } from "./qemu-driver.ts";

const ctx = background();
const MiB = 1024 * 1024;
const noPool = { size: 0, left: () => 0, isBusy: () => false };
const jail: DriverHandle = { driver: "oci", version: 1, state: {} };
const execRequest = {
  execId: "e",
  argv: ["ls"],
  env: [],
  user: "",
  groupAdd: [],
  workingDir: "",
  tty: false,
  stdin: false,
  privileged: false,
  detached: false,
} as const;

/** Jails of which a test says what has become of them. */
class Jails {
  state: Recovered = { status: "running", pid: 1 };
  readonly updates: unknown[] = [];
  readonly signals: number[] = [];

  driver(): Driver {
    const unused = () => Promise.reject(new Error("this double does not do that"));
    return {
      name: "oci",
      isolation: "container",
      hardware: false,
      inside: undefined,
      refuse: () => {},
      expectStart: () => {},
      fingerprint: unused,
      prepare: unused,
      start: async () => {},
      recover: async () => this.state,
      wait: unused,
      signal: async (_ctx, _handle, signal) => void this.signals.push(signal),
      pause: unused,
      resume: unused,
      attach: unused,
      resize: unused,
      exec: unused,
      usage: unused,
      processes: unused,
      update: async (_ctx, _handle, resources) => void this.updates.push(resources),
      reopenLog: unused,
      destroy: unused,
      collect: async () => [],
    };
  }
}

let dir: string;
let jails: Jails;
let missing: string[];
let driver: QemuDriver;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "berth-qemu-"));
  jails = new Jails();
  missing = [];
  const unused = () => Promise.reject(new Error("this double makes nothing"));
  const parts: DriverParts = {
    vmm: "/vmm",
    missing: () => missing,
    kit: unused,
    acceleration: async () => ({ kind: "tcg", reason: "there is no /dev/kvm" }),
    imageDisk: unused,
    blankDisk: unused,
    scratchDisk: unused,
    fileDaemon: async () => ({ program: "/usr/libexec/virtiofsd", kind: "rust" }),
    fileDaemonProgram: () => "/usr/libexec/virtiofsd",
    waiting: join(dir, "waiting"),
    templates: new Templates({ root: dir, maxBytes: 0, log: silentLogger }),
    currentKit: async () => undefined,
    imagePath: () => "",
    collect: async () => {},
  };
  const places = { runRoot: dir, cgroupParent: "/p" };
  driver = new QemuDriver({
    host: new FakeHost(),
    containers: jails.driver(),
    parts,
    pool: noPool,
    places,
    log: silentLogger,
  });
});
afterEach(() => rmSync(dir, { recursive: true }));

const machineIn = (runDir: string) =>
  handleOf({ id: "0123456789abcdef", runDir, process: [["hostname", "h"]], command: "serve", memory: 512 * MiB, jail });

const failing = (fields: readonly Field[]) => (client: FakeAgentClient) => {
  client.send(frameType.error, fields);
  client.send(frameType.closed);
};

describe("a start", () => {
  it("ends when the main process runs in the guest", async () => {
    await using agent = await FakeAgent.start((client) => client.send(frameType.reply));
    await driver.start(ctx, machineIn(agent.runDir));
    expect(agent.clients[0]?.get("verb")).toBe("started");
  });

  it("waits for its turn where two for each processor are being started, and one", async () => {
    const all = 2 * new FakeHost().facts.cpus + 1;
    const started: FakeAgentClient[] = [];
    await using agent = await FakeAgent.start((client) => void started.push(client));
    const starts = Array.from({ length: all + 1 }, () => driver.start(ctx, machineIn(agent.runDir)));
    const ended = Promise.all(starts);
    await vi.waitFor(() => expect(started).toHaveLength(all));
    const givenUp = new AbortController();
    const late = driver.start({ ...ctx, signal: givenUp.signal }, machineIn(agent.runDir));
    givenUp.abort(new Error("nobody waits for it"));
    await expect(late).rejects.toThrow("nobody waits for it");
    expect(started).toHaveLength(all);
    started[0]?.send(frameType.reply);
    await vi.waitFor(() => expect(started).toHaveLength(all + 1));
    for (const client of started.slice(1)) client.send(frameType.reply);
    await ended;
  });

  it.each<[string, readonly Field[], string, string]>([
    [
      "no such command",
      [
        ["kind", "not-found"],
        ["message", "x"],
      ],
      "COMMAND_NOT_FOUND",
      'exec: "serve": executable file not found in $PATH',
    ],
    [
      "a command that is no program",
      [
        ["kind", "not-executable"],
        ["message", "exec: serve: Permission denied"],
      ],
      "COMMAND_NOT_EXECUTABLE",
      'exec: "serve": permission denied',
    ],
    [
      "no such user",
      [
        ["kind", "no-user"],
        ["message", "unable to find user web"],
      ],
      "GUEST_USER_UNKNOWN",
      "unable to find user web",
    ],
    [
      "anything else",
      [
        ["kind", "system"],
        ["message", "mounting the overlay"],
      ],
      "MACHINE_FAILED",
      "mounting the overlay",
    ],
  ])("fails with the reason: %s", async (_what, fields, code, message) => {
    await using agent = await FakeAgent.start(failing(fields));
    const started = driver.start(ctx, machineIn(agent.runDir));
    await expect(started).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it("of a machine that has ended by itself has its last words", async () => {
    jails.state = { status: "exited", exit: { exitCode: 125, oomKilled: false, finishedAt: "" } };
    const words: readonly Field[] = [
      ["kind", "machine"],
      ["message", "it ended"],
      ["qemu", "no memory"],
      ["console", ""],
    ];
    writeFileSync(join(dir, "failure"), encodeFields(words));
    await expect(driver.start(ctx, machineIn(dir))).rejects.toMatchObject({
      code: "MACHINE_FAILED",
      message: expect.stringContaining("it ended\nno memory"),
    });
  });

  it("of one that was quicker than we looked is a start", async () => {
    jails.state = { status: "exited", exit: { exitCode: 0, oomKilled: false, finishedAt: "" } };
    await driver.start(ctx, machineIn(dir));
  });
});

describe("a command", () => {
  it("is refused in a machine that is paused, was not started, or has ended", async () => {
    const exec = () => driver.exec(ctx, machineIn(dir), execRequest);
    jails.state = { status: "paused", pid: 1 };
    await expect(exec()).rejects.toMatchObject({ code: "TASK_PAUSED" });
    jails.state = { status: "prepared" };
    await expect(exec()).rejects.toMatchObject({ code: "TASK_NOT_RUNNING" });
    // Ended since it was looked at: its socket is gone.
    jails.state = { status: "running", pid: 1 };
    await expect(exec()).rejects.toMatchObject({ code: "TASK_NOT_RUNNING" });
  });

  it("that the guest has not is named", async () => {
    await using agent = await FakeAgent.start(
      failing([
        ["kind", "not-found"],
        ["message", "x"],
      ]),
    );
    await expect(driver.exec(ctx, machineIn(agent.runDir), execRequest)).rejects.toMatchObject({
      code: "COMMAND_NOT_FOUND",
      message: expect.stringContaining('exec: "ls": executable file not found in $PATH'),
    });
  });

  it("is signalled and resized through its channel, and ends as killed with its machine", async () => {
    await using agent = await FakeAgent.start((client) => client.send(frameType.started, [["pid", "9"]]));
    const task = await driver.exec(ctx, machineIn(agent.runDir), { ...execRequest, tty: true });
    expect(task.pid).toBe(9);
    await task.signal(15);
    await task.resize({ rows: 20, columns: 70 });
    const [client] = agent.clients;
    await expect.poll(() => client?.frames.map(({ type }) => type)).toEqual([frameType.signal, frameType.resize]);
    expect([...(client?.frames[1]?.payload ?? [])]).toEqual([20, 0, 70, 0]);
    client?.leave();
    expect(await task.exited).toBe(137);
    await expect(task.signal(15)).rejects.toMatchObject({ code: "TASK_NOT_RUNNING" });
  });
});

describe("what the driver tells", () => {
  it("is that it emulates, and why", async () => {
    expect(await driver.fingerprint(ctx)).toMatchObject({
      available: true,
      runtime: "tcg",
      reasons: ["emulation, not KVM: there is no /dev/kvm"],
    });
  });

  it("is what is missing, when an instance is created already", async () => {
    missing.push("qemu-system-x86_64 is not installed");
    expect(await driver.fingerprint(ctx)).toMatchObject({ available: false, reasons: missing });
    expect(() => driver.refuse(instanceSpec(["true"]))).toThrow("qemu-system-x86_64 is not installed");
  });
});

describe("a kill", () => {
  it("is done in the guest, which then writes its files out", async () => {
    await using agent = await FakeAgent.start((client) => {
      client.send(frameType.reply);
      jails.state = { status: "exited", exit: { exitCode: 137, oomKilled: false, finishedAt: "" } };
    });
    await driver.signal(ctx, machineIn(agent.runDir), 9);
    expect([agent.clients[0]?.get("verb"), agent.clients[0]?.get("signal")]).toEqual(["signal", "9"]);
    expect(jails.signals).toEqual([]);
  });

  it("is that of the machine where its guest does not do it soon, or is not there", async () => {
    {
      await using agent = await FakeAgent.start((client) => client.send(frameType.reply));
      await driver.signal(ctx, machineIn(agent.runDir), 9);
    }
    expect(jails.signals).toEqual([9]);
    await driver.signal(ctx, machineIn(dir), 9);
    expect(jails.signals).toEqual([9, 9]);
  });

  it("does not wait for files that nobody will want", async () => {
    await using agent = await FakeAgent.start(() => {});
    const { state, ...rest } = machineIn(agent.runDir);
    await driver.signal(ctx, { ...rest, state: { ...state, throwAway: true } }, 9);
    expect(jails.signals).toEqual([9]);
    expect(agent.clients).toEqual([]);
  });
});

describe("an end", () => {
  it("is one for memory when the guest's kernel killed for it", async () => {
    jails.state = { status: "exited", exit: { exitCode: 137, oomKilled: false, finishedAt: "" } };
    expect(await driver.recover(ctx, machineIn(dir))).toMatchObject({ exit: { oomKilled: false } });
    writeFileSync(join(dir, "oom"), "");
    expect(await driver.recover(ctx, machineIn(dir))).toMatchObject({ exit: { exitCode: 137, oomKilled: true } });
  });
});

describe("an update", () => {
  it("tells the host, with room for what runs the machine, and the guest", async () => {
    await using agent = await FakeAgent.start((client) => {
      client.send(frameType.reply);
      client.send(frameType.closed);
    });
    const resources = { ...unlimited, nanoCpus: 5e8, memory: 128 * MiB, pidsLimit: 7 };
    await driver.update(ctx, machineIn(agent.runDir), resources);
    expect(jails.updates).toMatchObject([{ nanoCpus: 5e8, memory: (128 + 256) * MiB, pidsLimit: 0 }]);
    expect(agent.clients[0]?.fields).toEqual([
      ["verb", "limit"],
      ["memory", String(128 * MiB)],
      ["pids", "7"],
    ]);
  });

  it("gives no more memory than the running guest has", async () => {
    const update = driver.update(ctx, machineIn(dir), { ...unlimited, memory: 449 * MiB });
    await expect(update).rejects.toMatchObject({ code: "MACHINE_UNSUPPORTED" });
    expect(jails.updates).toEqual([]);
  });
});

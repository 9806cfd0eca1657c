import { readFile, rename } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newId } from "../base/ids.ts";
import { background } from "../base/op-context.ts";
import type { DriverHandle } from "../schema/instance.ts";
import { unlimited } from "../schema/resources.ts";
import type { Driver, ExecRequest, OutputFrame, PrepareRequest, TaskIo } from "./driver.ts";
import { instanceSpec, type SpecOverrides } from "./fake/instance-spec.ts";

/** A machine for one test, with a driver on it. Disposing it removes everything and fails when something was left. */
export interface DriverWorld extends AsyncDisposable {
  readonly driver: Driver;
  /** Another driver object on the same machine: what a restarted engine makes. */
  reopen(): Promise<Driver>;
  /** A request for `spec`, with a root file system that has busybox's commands. */
  request(spec: PrepareRequest["spec"], overrides?: Partial<PrepareRequest>): Promise<PrepareRequest>;
  /** What is there of the instance's processes, control groups, mounts and state files. */
  remains(id: string): Promise<readonly string[]>;
}

export interface DriverSuiteOptions {
  /** Leaves out what only a kernel can do (limits, OOM, /proc). */
  readonly kernel: boolean;
  /** When a command that is not there is noticed: with "start" where only the guest can tell. */
  readonly commandIsSought: "prepare" | "start";
  readonly open: () => Promise<DriverWorld>;
}

const ctx = background();
const SIGKILL = 9;
const SIGTERM = 15;

/** Registers the tests that every {@link Driver} has to pass. */
export function driverContract(name: string, options: DriverSuiteOptions): void {
  describe(`driver contract: ${name}`, () => {
    let world: DriverWorld;
    let driver: Driver;
    const handles: DriverHandle[] = [];

    beforeEach(async () => {
      world = await options.open();
      driver = world.driver;
    });

    afterEach(async () => {
      for (const handle of handles.splice(0)) await driver.destroy(ctx, handle);
      await world[Symbol.asyncDispose]();
    });

    async function prepare(argv: readonly string[], overrides: SpecOverrides = {}) {
      const request = await world.request(instanceSpec(argv, overrides));
      const { handle, pid } = await driver.prepare(ctx, request);
      handles.push(handle);
      return { request, handle, pid };
    }

    async function run(argv: readonly string[], overrides: SpecOverrides = {}) {
      const prepared = await prepare(argv, overrides);
      await driver.start(ctx, prepared.handle);
      return prepared;
    }

    describe("life", () => {
      it("runs a command to its end and reports its exit code", async () => {
        const { handle } = await run(["sh", "-c", "exit 3"]);
        const exit = await driver.wait(ctx, handle);
        expect(exit).toMatchObject({ exitCode: 3, oomKilled: false });
        expect(Math.abs(Date.now() - Date.parse(exit.finishedAt))).toBeLessThan(20_000);
      });

      it("answers every waiter, also one that comes after the end", async () => {
        const { handle } = await run(["sh", "-c", "exit 5"]);
        const early = await Promise.all([driver.wait(ctx, handle), driver.wait(ctx, handle)]);
        expect(early.map((exit) => exit.exitCode)).toEqual([5, 5]);
        expect(await driver.wait(ctx, handle)).toEqual(early[0]);
      });

      it("does not run the command before it is started", async () => {
        const { handle, pid } = await prepare(["sh", "-c", "echo hello; exit 0"]);
        expect(pid).toBeGreaterThan(0);
        expect(await driver.recover(ctx, handle)).toEqual({ status: "prepared" });
        await driver.start(ctx, handle);
        expect((await driver.wait(ctx, handle)).exitCode).toBe(0);
      });

      it("names a command that is not there, and leaves nothing", async () => {
        const request = await world.request(instanceSpec(["no-such-command"]));
        const begin = async () => {
          const { handle } = await driver.prepare(ctx, request);
          if (options.commandIsSought === "start")
            await driver.start(ctx, handle).finally(() => driver.destroy(ctx, handle));
        };
        await expect(begin()).rejects.toMatchObject({
          code: "COMMAND_NOT_FOUND",
          status: 400,
          message: expect.stringContaining('exec: "no-such-command": executable file not found in $PATH'),
        });
        expect(await world.remains(request.id)).toEqual([]);
      });

      it("lists its processes and reports what they use", async () => {
        const { handle, pid } = await run(["sleep", "1000"]);
        expect(await driver.processes(ctx, handle)).toContain(pid);
        expect((await driver.usage(ctx, handle)).pids).toBeGreaterThanOrEqual(1);
      });

      it("destroys a running instance and leaves nothing", async () => {
        const { handle, request } = await run(["sleep", "1000"]);
        const ended = driver.wait(ctx, handle);
        await driver.destroy(ctx, handle);
        expect((await ended).exitCode).toBe(137);
        expect(await world.remains(request.id)).toEqual([]);
      });

      it("destroys one that was never started, and one that has ended", async () => {
        const waiting = await prepare(["sleep", "1000"]);
        await driver.destroy(ctx, waiting.handle);
        expect(await world.remains(waiting.request.id)).toEqual([]);
        const ended = await run(["true"]);
        await driver.wait(ctx, ended.handle);
        await driver.destroy(ctx, ended.handle);
        expect(await world.remains(ended.request.id)).toEqual([]);
      });

      it("destroys twice without an error", async () => {
        const { handle } = await run(["true"]);
        await driver.destroy(ctx, handle);
        await driver.destroy(ctx, handle);
      });

      it("runs two instances side by side", async () => {
        const [first, second] = await Promise.all([run(["sh", "-c", "exit 1"]), run(["sh", "-c", "exit 2"])]);
        const exits = await Promise.all([driver.wait(ctx, first.handle), driver.wait(ctx, second.handle)]);
        expect(exits.map((exit) => exit.exitCode)).toEqual([1, 2]);
      });

      it("has a handle that is plain JSON", async () => {
        const { handle } = await run(["sleep", "1000"]);
        expect(JSON.parse(JSON.stringify(handle))).toEqual(handle);
      });
    });

    describe("signals", () => {
      it("kills with 128 + signal", async () => {
        const { handle } = await run(["sleep", "1000"]);
        await driver.signal(ctx, handle, SIGKILL);
        expect((await driver.wait(ctx, handle)).exitCode).toBe(137);
      });

      it("delivers a signal that the process handles", async () => {
        const script = "trap 'exit 7' TERM; echo ready; sleep 1000 & wait";
        const { handle, request } = await run(["sh", "-c", script]);
        await eventually(async () => expect(await readFile(request.logPath, "utf8")).toContain("ready"));
        await driver.signal(ctx, handle, SIGTERM);
        expect((await driver.wait(ctx, handle)).exitCode).toBe(7);
      });

      it("refuses to signal what has ended", async () => {
        const { handle } = await run(["true"]);
        await driver.wait(ctx, handle);
        await expect(driver.signal(ctx, handle, SIGTERM)).rejects.toMatchObject({ code: "TASK_NOT_RUNNING" });
      });

      it("pauses and resumes", async () => {
        const { handle } = await run(["sleep", "1000"]);
        await driver.pause(ctx, handle);
        expect(await driver.recover(ctx, handle)).toMatchObject({ status: "paused" });
        await driver.resume(ctx, handle);
        expect(await driver.recover(ctx, handle)).toMatchObject({ status: "running" });
      });

      it("destroys a paused instance", async () => {
        const { handle, request } = await run(["sleep", "1000"]);
        await driver.pause(ctx, handle);
        await driver.destroy(ctx, handle);
        expect(await world.remains(request.id)).toEqual([]);
      });
    });

    describe("streams", () => {
      it("gives both streams from the first byte to a client that attached before the start", async () => {
        const { handle } = await prepare(["sh", "-c", "echo out; echo err >&2"]);
        const io = await driver.attach(ctx, handle);
        await driver.start(ctx, handle);
        expect(await collect(io)).toEqual({ stdout: "out\n", stderr: "err\n" });
        await driver.wait(ctx, handle);
      });

      it("gives all output to each of two clients", async () => {
        const { handle } = await prepare(["sh", "-c", "echo one; echo two"]);
        const clients = [await driver.attach(ctx, handle), await driver.attach(ctx, handle)];
        await driver.start(ctx, handle);
        const outputs = await Promise.all(clients.map((io) => collect(io)));
        expect(outputs.map((output) => output.stdout)).toEqual(["one\ntwo\n", "one\ntwo\n"]);
      });

      it("passes stdin on, and its end", async () => {
        const { handle } = await prepare(["cat"], { process: { openStdin: true, stdinOnce: true } });
        const io = await driver.attach(ctx, handle);
        await driver.start(ctx, handle);
        io.stdin?.write("hello ");
        io.stdin?.end("world\n");
        expect((await collect(io)).stdout).toBe("hello world\n");
        expect((await driver.wait(ctx, handle)).exitCode).toBe(0);
      });

      it("passes a megabyte through unharmed", async () => {
        const { handle } = await prepare(["cat"], { process: { openStdin: true, stdinOnce: true } });
        const io = await driver.attach(ctx, handle);
        await driver.start(ctx, handle);
        const line = `${"0123456789abcdef".repeat(63)}0123456789abcde\n`;
        io.stdin?.end(line.repeat(1024));
        expect((await collect(io)).stdout === line.repeat(1024)).toBe(true);
      });

      it("keeps stdin open when a client leaves that never ended it", async () => {
        const { handle } = await run(["cat"], { process: { openStdin: true, stdinOnce: true } });
        (await driver.attach(ctx, handle)).detach();
        const io = await driver.attach(ctx, handle);
        io.stdin?.end("still here\n");
        expect((await collect(io)).stdout).toBe("still here\n");
        expect((await driver.wait(ctx, handle)).exitCode).toBe(0);
      });

      it("keeps stdin open after a client's end unless it was asked to close it", async () => {
        const { handle, request } = await run(["cat"], { process: { openStdin: true, stdinOnce: false } });
        const first = await driver.attach(ctx, handle);
        first.stdin?.end("one\n");
        await eventually(async () => expect(await readFile(request.logPath, "utf8")).toContain("one"));
        first.detach();
        const second = await driver.attach(ctx, handle);
        second.stdin?.write("two\n");
        await eventually(async () => expect(await readFile(request.logPath, "utf8")).toContain("two"));
        second.detach();
        expect(await driver.recover(ctx, handle)).toMatchObject({ status: "running" });
      });

      it("has no stdin to write to unless it was opened", async () => {
        const { handle } = await run(["sleep", "1000"]);
        const io = await driver.attach(ctx, handle);
        expect(io.stdin).toBeUndefined();
        io.detach();
      });

      it("sends a terminal's output as stdout with its line ends", async () => {
        const { handle } = await prepare(["sh", "-c", "echo hello; echo oops >&2"], { process: { tty: true } });
        const io = await driver.attach(ctx, handle);
        await driver.start(ctx, handle);
        expect(await collect(io)).toEqual({ stdout: "hello\r\noops\r\n", stderr: "" });
      });

      it("resizes a terminal, and refuses where there is none", async () => {
        const terminal = await run(["sleep", "1000"], { process: { tty: true } });
        await driver.resize(ctx, terminal.handle, { rows: 30, columns: 100 });
        const plain = await run(["sleep", "1000"]);
        await expect(driver.resize(ctx, plain.handle, { rows: 1, columns: 1 })).rejects.toMatchObject({
          code: "TASK_HAS_NO_TTY",
        });
      });

      it("writes the log with stream and time, and to a new file when it was renamed", async () => {
        const { handle, request } = await run(["cat"], { process: { openStdin: true } });
        const io = await driver.attach(ctx, handle);
        io.stdin?.write("before\n");
        await eventually(async () => expect(await readFile(request.logPath, "utf8")).toContain("before"));
        await rename(request.logPath, `${request.logPath}.1`);
        await driver.reopenLog(ctx, handle);
        io.stdin?.write("after\n");
        await eventually(async () => expect(await readFile(request.logPath, "utf8")).toContain("after"));
        expect(await readFile(request.logPath, "utf8")).toMatch(/^\d{4}-\d\d-\d\dT\S+ stdout F after\n$/);
        expect(await readFile(`${request.logPath}.1`, "utf8")).not.toContain("after");
        io.detach();
      });

      it("refuses to attach to what has ended", async () => {
        const { handle } = await run(["true"]);
        await driver.wait(ctx, handle);
        await expect(driver.attach(ctx, handle)).rejects.toMatchObject({ code: "TASK_NOT_RUNNING" });
      });
    });

    describe("exec", () => {
      it("runs a command beside the main process", async () => {
        const { handle } = await run(["sleep", "1000"]);
        const task = await driver.exec(ctx, handle, execOf(["sh", "-c", "echo out; echo err >&2; exit 4"]));
        expect(task.pid).toBeGreaterThan(0);
        expect(await collect(task.io)).toEqual({ stdout: "out\n", stderr: "err\n" });
        expect(await task.exited).toBe(4);
        expect(await driver.recover(ctx, handle)).toMatchObject({ status: "running" });
      });

      it("passes stdin on, and its end", async () => {
        const { handle } = await run(["sleep", "1000"]);
        const task = await driver.exec(ctx, handle, execOf(["cat"], { stdin: true }));
        task.io.stdin?.end("through exec\n");
        expect((await collect(task.io)).stdout).toBe("through exec\n");
        expect(await task.exited).toBe(0);
      });

      it("gives it a terminal", async () => {
        const { handle } = await run(["sleep", "1000"]);
        const task = await driver.exec(ctx, handle, execOf(["sh", "-c", "echo tty; exit 2"], { tty: true }));
        expect((await collect(task.io)).stdout).toBe("tty\r\n");
        expect(await task.exited).toBe(2);
      });

      it("can be signalled and resized", async () => {
        const { handle } = await run(["sleep", "1000"]);
        const task = await driver.exec(ctx, handle, execOf(["sleep", "1000"], { tty: true }));
        await task.resize({ rows: 20, columns: 70 });
        await task.signal(SIGKILL);
        expect(await task.exited).toBe(137);
      });

      it("names a command that is not there", async () => {
        const { handle } = await run(["sleep", "1000"]);
        await expect(driver.exec(ctx, handle, execOf(["no-such-command"]))).rejects.toMatchObject({
          code: "COMMAND_NOT_FOUND",
          message: expect.stringContaining('exec: "no-such-command": executable file not found in $PATH'),
        });
      });

      it("is refused while paused, before the start and after the end", async () => {
        const { handle, request } = await prepare(["sleep", "1000"]);
        await expect(driver.exec(ctx, handle, execOf(["true"]))).rejects.toMatchObject({ code: "TASK_NOT_RUNNING" });
        await driver.start(ctx, handle);
        await driver.pause(ctx, handle);
        await expect(driver.exec(ctx, handle, execOf(["true"]))).rejects.toMatchObject({
          code: "TASK_PAUSED",
          status: 409,
          message: `Container ${request.id} is paused, unpause the container before exec`,
        });
        await driver.resume(ctx, handle);
        await driver.signal(ctx, handle, SIGKILL);
        await driver.wait(ctx, handle);
        await expect(driver.exec(ctx, handle, execOf(["true"]))).rejects.toMatchObject({ code: "TASK_NOT_RUNNING" });
      });

      it("is refused in the same words while the instance ends", async () => {
        for (let round = 0; round < 5; round++) {
          const { handle } = await run(["sleep", "1000"]);
          // Collected from the start: one may be refused while the signal is still under way.
          const execs = Promise.allSettled(
            Array.from({ length: 4 }, async (_, index) => {
              await delay(index * 4);
              return await driver.exec(ctx, handle, execOf(["true"]));
            }),
          );
          await delay(round * 3);
          await driver.signal(ctx, handle, SIGKILL);
          for (const result of await execs) {
            if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "TASK_NOT_RUNNING" });
          }
        }
      });

      it("ends with the instance", async () => {
        const { handle, request } = await run(["sleep", "1000"]);
        const task = await driver.exec(ctx, handle, execOf(["sleep", "1000"]));
        await driver.destroy(ctx, handle);
        expect(await task.exited).toBe(137);
        expect(await world.remains(request.id)).toEqual([]);
      });
    });

    describe("recovery", () => {
      it("finds a running instance again, with its streams and its end", async () => {
        const { handle, pid, request } = await run(["cat"], { process: { openStdin: true, stdinOnce: false } });
        driver = await world.reopen();
        expect(await driver.recover(ctx, handle)).toEqual({ status: "running", pid });
        const io = await driver.attach(ctx, handle);
        io.stdin?.write("again\n");
        await eventually(async () => expect(await readFile(request.logPath, "utf8")).toContain("again"));
        io.detach();
        const task = await driver.exec(ctx, handle, execOf(["sh", "-c", "exit 6"]));
        expect(await task.exited).toBe(6);
        const ended = driver.wait(ctx, handle);
        await driver.signal(ctx, handle, SIGKILL);
        expect((await ended).exitCode).toBe(137);
      });

      it("knows the exit code of one that ended while no engine ran", async () => {
        const { handle } = await run(["sh", "-c", "exit 9"]);
        const first = await driver.wait(ctx, handle);
        driver = await world.reopen();
        expect(await driver.recover(ctx, handle)).toEqual({ status: "exited", exit: first });
        expect(await driver.wait(ctx, handle)).toEqual(first);
      });

      it("tells one that was prepared but never started", async () => {
        const { handle } = await prepare(["sleep", "1000"]);
        driver = await world.reopen();
        expect(await driver.recover(ctx, handle)).toEqual({ status: "prepared" });
      });

      it("says that it has lost what is gone", async () => {
        const { handle } = await run(["true"]);
        await driver.destroy(ctx, handle);
        expect(await driver.recover(ctx, handle)).toEqual({ status: "lost" });
      });

      it("collects what nobody keeps", async () => {
        const kept = await run(["sleep", "1000"]);
        const stray = await run(["sleep", "1000"]);
        expect(await driver.collect(ctx, new Set([kept.request.id]))).toEqual([stray.request.id]);
        expect(await world.remains(stray.request.id)).toEqual([]);
        expect(await driver.recover(ctx, kept.handle)).toMatchObject({ status: "running" });
      });

      it("refuses another driver's handle", async () => {
        const foreign: DriverHandle = { driver: "another", version: 1, state: {} };
        await expect(driver.recover(ctx, foreign)).rejects.toMatchObject({ code: "HANDLE_UNKNOWN" });
      });
    });

    describe.runIf(options.kernel)("limits", () => {
      const megabyte = 1024 * 1024;

      it("reports that the kernel killed it for its memory", async () => {
        const { handle } = await run(["sh", "-c", "x=a; while true; do x=$x$x; done"], {
          resources: { ...unlimited, memory: 16 * megabyte, memorySwap: 16 * megabyte },
        });
        expect(await driver.wait(ctx, handle)).toMatchObject({ exitCode: 137, oomKilled: true });
      });

      it("changes limits while it runs", async () => {
        const { handle } = await run(["sleep", "1000"], { resources: { ...unlimited, memory: 32 * megabyte } });
        expect((await driver.usage(ctx, handle)).memoryLimitBytes).toBe(32 * megabyte);
        await driver.update(ctx, handle, {
          ...unlimited,
          memory: 64 * megabyte,
          memorySwap: 128 * megabyte,
          pidsLimit: 50,
        });
        const usage = await driver.usage(ctx, handle);
        expect(usage).toMatchObject({ memoryLimitBytes: 64 * megabyte, pidsLimit: 50 });
      });
    });
  });
}

function execOf(argv: readonly string[], overrides: Partial<ExecRequest> = {}): ExecRequest {
  return {
    execId: newId(),
    argv,
    env: [],
    user: "",
    groupAdd: [],
    workingDir: "",
    tty: false,
    stdin: false,
    privileged: false,
    detached: false,
    ...overrides,
  };
}

/** Reads a client's output to its end. */
async function collect(io: TaskIo): Promise<{ stdout: string; stderr: string }> {
  const text = { stdout: "", stderr: "" };
  for await (const frame of io.output) {
    const { stream, data }: OutputFrame = frame;
    text[stream] += Buffer.from(data).toString();
  }
  return text;
}

/** Retries `check` for ten seconds. */
async function eventually(check: () => Promise<void>): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await delay(20);
    }
  }
}

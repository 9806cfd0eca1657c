import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import type { OutputFrame } from "./driver.ts";
import { driverErrors } from "./driver-errors.ts";
import { TestEngine } from "./fake/test-engine.ts";
import type { AttachSession } from "./instance-service.ts";

const attachAll = { stdin: true, stdout: true, stderr: true, logs: false, stream: true };

describe("an instance's life", () => {
  it("runs to its end, with Docker's events and exit code", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["sh", "-c", "exit 3"], { name: "web", labels: { a: "b" } });
    const { done } = await engine.service.wait(engine.ctx, "web", "next-exit");
    expect(await engine.service.start(engine.ctx, "/web")).toEqual({ started: true });
    expect(await done).toEqual({ exitCode: 3, error: "" });
    await engine.service.settled();
    expect(engine.service.resolve(id.slice(0, 12)).state).toMatchObject({
      status: "exited",
      exitCode: 3,
      pid: 0,
      handle: null,
    });
    expect(engine.actions(id)).toEqual(["create", "start", "die"]);
    expect(engine.events.at(-1)?.attributes).toEqual({
      a: "b",
      image: "busybox:latest",
      name: "web",
      exitCode: "3",
      execDuration: "0",
    });
    expect(engine.networks.sandboxes.size).toBe(0);
    expect(engine.snapshots.mounted.size).toBe(0);
    expect(engine.machine.tasks.size).toBe(0);
  });

  it("has its handle in the store before the first instruction", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["sleep", "100"]);
    let handleAtStart: unknown;
    const start = engine.driver.start.bind(engine.driver);
    engine.driver.start = async (ctx, handle) => {
      handleAtStart = engine.service.resolve(id).state.handle;
      await start(ctx, handle);
    };
    await engine.service.start(engine.ctx, id);
    expect(handleAtStart).toEqual(engine.service.resolve(id).state.handle);
    expect(handleAtStart).not.toBeNull();
    expect(engine.machine.task(id).request.rootfs).toBe(engine.snapshots.rootOf(id));
    expect(engine.machine.task(id).request.cgroupPath).toBe(`/berth-abc123/${id}`);
  });

  it("is started twice only once", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["sleep", "100"]);
    const both = await Promise.all([engine.service.start(engine.ctx, id), engine.service.start(engine.ctx, id)]);
    expect(both.filter(({ started }) => started)).toHaveLength(1);
    expect(engine.driver.calls.filter((call) => call.startsWith("prepare"))).toHaveLength(1);
  });

  it("leaves nothing of a start that fails, and says why", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["nosuch"], {
      mounts: [{ type: "volume", name: "data", target: "/data", readOnly: false, noCopy: true, anonymous: false }],
    });
    await expect(engine.service.start(engine.ctx, id)).rejects.toMatchObject({ code: "COMMAND_NOT_FOUND" });
    const { state } = engine.service.resolve(id);
    expect(state).toMatchObject({ status: "created", exitCode: 127, handle: null, pid: 0 });
    expect(state.error).toContain("executable file not found in $PATH");
    expect(engine.networks.sandboxes.size).toBe(0);
    expect(engine.snapshots.mounted.size).toBe(0);
    expect(engine.volumes.mounts.get("data")?.size).toBe(0);
  });

  it("undoes the network and the root when the driver fails late", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["sleep", "100"]);
    engine.driver.failNext("start", new Error("no"));
    await expect(engine.service.start(engine.ctx, id)).rejects.toThrow("no");
    expect(engine.service.resolve(id).state).toMatchObject({ exitCode: 128, handle: null });
    expect(engine.machine.tasks.size).toBe(0);
    expect(engine.networks.sandboxes.size).toBe(0);
    expect(engine.snapshots.mounted.size).toBe(0);
    expect(await engine.service.start(engine.ctx, id)).toEqual({ started: true });
  });

  it("gives waiting clients the output from its first byte", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["sh", "-c", "echo out; echo err >&2"]);
    const one = await engine.service.attach(engine.ctx, id, attachAll);
    const two = await engine.service.attach(engine.ctx, id, { ...attachAll, stderr: false });
    await engine.service.start(engine.ctx, id);
    expect(await outputOf(one)).toBe("stdout:out\nstderr:err\n");
    expect(await outputOf(two)).toBe("stdout:out\n");
    expect(engine.actions(id).slice(0, 3)).toEqual(["create", "attach", "attach"]);
  });

  it("takes a monitor that ends before the start for a start that failed", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["true"]);
    await engine.service.attach(engine.ctx, id, attachAll);
    engine.driver.failNext("attach", driverErrors.TASK_NOT_RUNNING({ id }));
    await expect(engine.service.start(engine.ctx, id)).rejects.toThrow(/failed to start task .*monitor ended/);
    expect(engine.service.resolve(id).state).toMatchObject({ status: "created", exitCode: 128 });
  });

  it("passes on what was typed before the start, and the half-close", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["cat"], { process: { openStdin: true, stdinOnce: true } });
    const session = await engine.service.attach(engine.ctx, id, attachAll);
    session.stdin?.end("hello\n");
    await engine.service.start(engine.ctx, id);
    expect(await outputOf(session)).toBe("stdout:hello\n");
  });

  it("ends the session, not the process, when stdin stays open over clients", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["cat"], { process: { openStdin: true } });
    const session = await engine.service.attach(engine.ctx, id, attachAll);
    session.stdin?.end();
    await outputOf(session);
    expect(engine.service.resolve(id).state.status).toBe("running");
  });
});

describe("stop and kill", () => {
  it("sends the stop signal of the instance and reports it", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"], { stopSignal: "SIGUSR1" });
    const task = engine.machine.task(id);
    expect(await engine.service.stop(engine.ctx, id, {})).toEqual({ stopped: true });
    await engine.service.settled();
    expect(task.main.signals).toEqual([10]);
    expect(engine.service.resolve(id).state).toMatchObject({ status: "exited", exitCode: 138, manuallyStopped: true });
    expect(engine.actions(id)).toEqual(["create", "start", "kill", "die", "stop"]);
    expect(await engine.service.stop(engine.ctx, id, {})).toEqual({ stopped: false });
  });

  it("kills what does not heed the stop signal in time", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"]);
    const task = engine.machine.task(id);
    task.main.onSignal(15, () => {});
    await engine.service.stop(engine.ctx, id, { timeoutSeconds: 0.05 });
    expect(task.main.signals).toEqual([15, 9]);
    expect(engine.service.resolve(id).state.exitCode).toBe(137);
  });

  it("thaws a paused one so that it can end", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"]);
    await engine.service.pause(engine.ctx, id);
    await expect(engine.service.start(engine.ctx, id)).rejects.toMatchObject({ status: 409 });
    await expect(engine.service.pause(engine.ctx, id)).rejects.toThrow("is already paused");
    await engine.service.stop(engine.ctx, id, {});
    expect(engine.driver.calls).toContain(`resume ${id}`);
    expect(engine.actions(id)).toEqual(["create", "start", "pause", "kill", "die", "stop"]);
  });

  it("refuses what is no signal, and what does not run", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["sleep", "100"], { name: "x1" });
    await expect(engine.service.kill(engine.ctx, "x1", "FOO")).rejects.toThrow(
      "cannot kill container: x1: invalid signal: FOO",
    );
    await expect(engine.service.kill(engine.ctx, "x1", "")).rejects.toThrow(
      `cannot kill container: x1: container ${id} is not running`,
    );
  });

  it("restarts, and --rm does not remove it in between", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"], { autoRemove: true });
    await engine.service.restart(engine.ctx, id, { timeoutSeconds: 1 });
    expect(engine.service.resolve(id).state.status).toBe("running");
    expect(engine.actions(id)).toEqual(["create", "start", "kill", "die", "stop", "start", "restart"]);
  });
});

describe("removal", () => {
  it("refuses a running one unless forced, with Docker's words", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"], { name: "web" });
    await expect(engine.service.remove(engine.ctx, "web", { force: false, volumes: false })).rejects.toThrow(
      'cannot remove container "web": container is running: stop the container before removing or force remove',
    );
    const { done } = await engine.service.wait(engine.ctx, id, "removed");
    await engine.service.remove(engine.ctx, "web", { force: true, volumes: false });
    expect(await done).toEqual({ exitCode: 137, error: "" });
    expect(() => engine.service.resolve("web")).toThrow("No such container: web");
    expect(engine.snapshots.parents.size).toBe(0);
    expect(engine.actions(id)).toEqual(["create", "start", "kill", "die", "destroy"]);
  });

  it("of --rm happens at the end of the run, anonymous volumes included", async () => {
    await using engine = new TestEngine();
    engine.images.runConfig = { Volumes: { "/data": {} } };
    const id = await engine.create(["true"], { autoRemove: true });
    expect(engine.volumes.volumes.size).toBe(1);
    const { done } = await engine.service.wait(engine.ctx, id, "removed");
    await engine.service.start(engine.ctx, id);
    expect(await done).toEqual({ exitCode: 0, error: "" });
    expect(engine.service.list()).toEqual([]);
    await engine.service.settled();
    expect(engine.volumes.volumes.size).toBe(0);
    expect(engine.snapshots.parents.size).toBe(0);
    expect(engine.snapshots.volatile).toEqual(new Set([id]));
    expect(engine.actions(id)).toEqual(["create", "start", "die", "destroy"]);
  });

  it("of --rm also follows a start that fails", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["nosuch"], { autoRemove: true, name: "gone" });
    await expect(engine.service.start(engine.ctx, id)).rejects.toMatchObject({ code: "COMMAND_NOT_FOUND" });
    expect(engine.service.list()).toEqual([]);
    expect(engine.snapshots.parents.size).toBe(0);
  });

  it("leaves named volumes, and anonymous ones without -v", async () => {
    await using engine = new TestEngine();
    engine.images.runConfig = { Volumes: { "/data": {} } };
    const named = {
      type: "volume",
      name: "keep",
      target: "/keep",
      readOnly: false,
      noCopy: true,
      anonymous: false,
    } as const;
    const first = await engine.create(["true"], { mounts: [named] });
    await engine.service.remove(engine.ctx, first, { force: false, volumes: false });
    expect(engine.volumes.volumes.size).toBe(2);
    const second = await engine.create(["true"], { mounts: [named] });
    await engine.service.remove(engine.ctx, second, { force: false, volumes: true });
    expect([...engine.volumes.volumes.values()].map(({ anonymous }) => anonymous)).toEqual([false, true]);
  });

  it("prunes what is stopped and lets through the filters", async () => {
    await using engine = new TestEngine();
    const kept = await engine.create(["true"], { labels: { keep: "yes" } });
    const running = await engine.run(["sleep", "100"]);
    const stopped = await engine.create(["true"]);
    const report = await engine.service.prune(engine.ctx, { "label!": ["keep=yes"] });
    expect(report).toEqual({ deleted: [stopped], reclaimedBytes: 8192 + 4096 });
    expect(new Set(engine.service.list().map(({ id }) => id))).toEqual(new Set([kept, running]));
    await expect(engine.service.prune(engine.ctx, { color: ["red"] })).rejects.toThrow("invalid filter 'color'");
  });
});

describe("restart policies", () => {
  it("brings back what failed, up to its bound", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["sh", "-c", "exit 1"], {
      restartPolicy: { name: "on-failure", maximumRetryCount: 2 },
    });
    const { done } = await engine.service.wait(engine.ctx, id, "next-exit");
    await engine.service.start(engine.ctx, id);
    // Who waits is told at the first end, as by Docker, though a restart follows.
    expect(await done).toEqual({ exitCode: 1, error: "" });
    expect(engine.service.resolve(id).state.restartCount).toBeLessThan(2);
    await until(() => engine.service.resolve(id).state.status === "exited");
    expect(engine.service.resolve(id).state).toMatchObject({ status: "exited", restartCount: 2 });
    expect(engine.actions(id)).toEqual(["create", "start", "die", "start", "die", "start", "die"]);
  });

  it("is overruled by a user's stop, also while the restart is planned", async () => {
    await using engine = new TestEngine();
    const always = { name: "always", maximumRetryCount: 0 } as const;
    const running = await engine.run(["sleep", "100"], { restartPolicy: always });
    await engine.service.stop(engine.ctx, running, { timeoutSeconds: 1 });
    expect(engine.service.resolve(running).state.status).toBe("exited");

    const failing = await engine.run(["false"], { restartPolicy: always });
    await until(() => engine.service.resolve(failing).state.status === "restarting");
    await engine.service.stop(engine.ctx, failing, { timeoutSeconds: 1 });
    await engine.service.settled();
    expect(engine.service.resolve(failing).state).toMatchObject({ status: "exited", exitCode: 1 });
  });

  it("reports an OOM kill before the end", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"]);
    engine.machine.task(id).finish(137, { oomKilled: true });
    await engine.service.settled();
    await until(() => engine.service.resolve(id).state.status === "exited");
    expect(engine.service.resolve(id).state).toMatchObject({ exitCode: 137, oomKilled: true });
    expect(engine.actions(id)).toEqual(["create", "start", "oom", "die"]);
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}

async function outputOf(session: AttachSession): Promise<string> {
  async function* parts() {
    for await (const frame of session.output) {
      const { stream, data } = frame as OutputFrame;
      yield Buffer.from(`${stream}:${Buffer.from(data).toString()}`);
    }
  }
  return await text(parts());
}

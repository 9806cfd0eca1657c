import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { failpoints } from "../host/failpoints.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import { TestEngine } from "./fake/test-engine.ts";

describe("an engine that was killed", () => {
  it("finds what runs again, and its end", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"], { name: "web" });
    const before = engine.service.resolve(id);
    await engine.restart();
    expect(engine.service.resolve("web")).toEqual(before);
    expect(engine.snapshots.mounted).toEqual(new Set([id]));
    const { done } = await engine.service.wait(engine.ctx, id, "not-running");
    engine.machine.task(id).finish(7);
    expect(await done).toEqual({ exitCode: 7, error: "" });
    await engine.service.settled();
    expect(engine.snapshots.mounted.size).toBe(0);
    expect(engine.networks.sandboxes.size).toBe(0);
  });

  it("unpacks an image again whose layers a power cut kept from the disk", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["sleep", "100"]);
    engine.snapshots.lostLayers.add("chain-of-busybox");
    await expect(engine.service.start(engine.ctx, id)).rejects.toThrow("no layer chain-of-busybox");
    engine.images.onUnpack = () => engine.snapshots.lostLayers.clear();
    await engine.service.start(engine.ctx, id);
    expect(engine.service.resolve(id).state.status).toBe("running");
  });

  it("starts again what was stopped to be restarted, --rm or not", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"], { autoRemove: true });
    engine.store.journal.begin("instance.restart", id, {});
    await engine.service.close();
    engine.machine.task(id).finish(137);
    await engine.machine.task(id).exited;
    await engine.restart();
    await vi.waitFor(() => expect(engine.store.journal.open()).toEqual([]));
    expect(engine.service.resolve(id).state.status).toBe("running");
  });

  it("tells what it is about to start as restarting, and lets a stop call that off", async () => {
    await using engine = new TestEngine();
    const ids: string[] = [];
    // More than are started side by side: the last one is still to come.
    for (let count = 0; count < 17; count++) ids.push(await engine.run(["sleep", "100"]));
    const last = ids.at(-1) ?? "";
    await engine.service.close();
    for (const id of ids) {
      engine.store.journal.begin("instance.restart", id, {});
      engine.machine.task(id).finish(137);
      await engine.machine.task(id).exited;
    }
    await engine.restart();
    expect(engine.service.resolve(last).state.status).toBe("restarting");
    await expect(engine.service.stop(engine.ctx, last, {})).resolves.toEqual({ stopped: true });
    await engine.service.settled();
    expect(ids.map((id) => engine.service.resolve(id).state.status)).toEqual([
      ...ids.slice(1).map(() => "running"),
      "exited",
    ]);
    expect(engine.store.journal.open()).toEqual([]);
  });

  it("finishes a restart whose instance had not ended yet, and only that run's", async () => {
    await using engine = new TestEngine();
    const [signalled, restarted] = [await engine.run(["sleep", "100"]), await engine.run(["sleep", "100"])];
    const { startedAt } = engine.service.resolve(signalled).state;
    engine.store.journal.begin("instance.restart", signalled, { run: startedAt, signal: "SIGKILL" });
    engine.store.journal.begin("instance.restart", restarted, { run: "2020-01-01T00:00:00.000Z", signal: "SIGKILL" });
    await engine.service.close();
    await engine.restart();
    await engine.service.settled();
    expect(engine.actions(signalled)).toEqual(["create", "start", "kill", "die", "stop", "start", "restart"]);
    expect(engine.actions(restarted)).toEqual(["create", "start"]);
    expect(engine.store.journal.open()).toEqual([]);
  });

  it("removes anonymous volumes with what was being removed with them", async () => {
    await using engine = new TestEngine();
    const volume = {
      type: "volume" as const,
      name: "",
      target: "/data",
      readOnly: false,
      anonymous: true,
      noCopy: true,
    };
    const id = await engine.create(["true"], { mounts: [volume] });
    expect(engine.volumes.volumes.size).toBe(1);
    failpoints.arm("directory.remove=fail");
    await expect(engine.service.remove(engine.ctx, id, { force: false, volumes: true })).rejects.toThrow("EIO");
    failpoints.arm("");
    expect(engine.store.journal.open()).toEqual([]);
    engine.service.resolve(id);
    engine.store.journal.begin("instance.remove", id, {});
    engine.store.collection<InstanceRecord>("instances").put(id, {
      ...engine.service.resolve(id),
      state: { ...engine.service.resolve(id).state, status: "removing" },
    });
    await engine.restart();
    expect(engine.volumes.volumes.size).toBe(0);
    expect(engine.store.journal.open()).toEqual([]);
  });

  it("thaws what was frozen for a commit", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"]);
    await engine.service.pause(engine.ctx, id);
    engine.store.journal.begin("instance.commit", id, {});
    await engine.restart();
    expect(engine.service.resolve(id).state.status).toBe("running");
    expect(engine.store.journal.open()).toEqual([]);
  });

  it("keeps paused ones paused", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"]);
    await engine.service.pause(engine.ctx, id);
    await engine.restart();
    expect(engine.service.resolve(id).state.status).toBe("paused");
    await engine.service.resume(engine.ctx, id);
  });

  it("records the exit code of what ended meanwhile, once", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"]);
    await engine.service.close();
    engine.machine.task(id).finish(5);
    await engine.machine.task(id).exited;
    await engine.restart();
    expect(engine.service.resolve(id).state).toMatchObject({ status: "exited", exitCode: 5, handle: null });
    expect(engine.snapshots.mounted.size).toBe(0);
    expect(engine.actions(id)).toEqual(["create", "start", "die"]);
    expect(engine.machine.tasks.size).toBe(0);
    await engine.restart();
    expect(engine.actions(id)).toEqual(["create", "start", "die"]);
  });

  it("removes --rm instances that ended, and those that never started", async () => {
    await using engine = new TestEngine();
    const ended = await engine.run(["sleep", "100"], { autoRemove: true });
    await engine.create(["true"], { autoRemove: true });
    await engine.service.close();
    engine.machine.task(ended).finish(0);
    await engine.machine.task(ended).exited;
    await engine.restart();
    await engine.service.settled();
    expect(engine.service.list()).toEqual([]);
    expect(engine.snapshots.parents.size).toBe(0);
  });

  it("gives 255 to what the machine's crash took, and starts what its policy keeps", async () => {
    await using engine = new TestEngine();
    const plain = await engine.run(["sleep", "100"]);
    const always = await engine.run(["sleep", "100"], { restartPolicy: { name: "always", maximumRetryCount: 0 } });
    const stopped = await engine.run(["sleep", "100"], {
      restartPolicy: { name: "unless-stopped", maximumRetryCount: 0 },
    });
    await engine.service.stop(engine.ctx, stopped, { timeoutSeconds: 1 });
    await engine.service.close();
    engine.machine.reboot();
    await engine.restart();
    await engine.service.settled();
    expect(engine.service.resolve(plain).state).toMatchObject({ status: "exited", exitCode: 255 });
    expect(engine.service.resolve(always).state.status).toBe("running");
    expect(engine.service.resolve(stopped).state.status).toBe("exited");
  });

  it("takes up a restart that was planned", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["false"], { restartPolicy: { name: "always", maximumRetryCount: 0 } });
    await new Promise((resolve) => setTimeout(resolve, 20));
    await engine.service.close();
    expect(engine.service.resolve(id).state.status).toBe("restarting");
    engine.machine.programs.set("false", async (process) => {
      await process.sleep(100_000);
      return 0;
    });
    await engine.restart();
    await engine.service.settled();
    expect(engine.service.resolve(id).state.status).toBe("running");
  });

  it("undoes a start that never let go of the instance", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["sleep", "100"]);
    // Killed between the handle's being stored and the first instruction.
    engine.driver.start = () => new Promise(() => {});
    void engine.service.start(engine.ctx, id);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(engine.service.resolve(id).state.handle).not.toBeNull();
    await engine.restart();
    expect(engine.service.resolve(id).state).toMatchObject({ status: "created", handle: null, pid: 0 });
    expect(engine.machine.tasks.size).toBe(0);
    expect(engine.snapshots.mounted.size).toBe(0);
    expect(engine.networks.sandboxes.size).toBe(0);
    expect(await engine.service.start(engine.ctx, id)).toEqual({ started: true });
  });

  it("counts as running what started though the engine died before it noted that", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["sleep", "100"]);
    const start = engine.driver.start.bind(engine.driver);
    engine.driver.start = async (ctx, handle) => {
      await start(ctx, handle);
      await new Promise(() => {});
    };
    void engine.service.start(engine.ctx, id);
    await new Promise((resolve) => setTimeout(resolve, 30));
    await engine.restart();
    const { state } = engine.service.resolve(id);
    expect(state.status).toBe("running");
    expect(state.startedAt).not.toBe("");
  });

  it("collects what no record owns", async () => {
    await using engine = new TestEngine();
    const internal = await engine.run(["sleep", "100"], { internal: true });
    expect(engine.service.list()).toEqual([]);
    const orphan = "f".repeat(64);
    const half = { driver: "local", options: {}, labels: {} };
    await engine.snapshots.service().prepare(engine.ctx, orphan, "");
    mkdirSync(join(engine.dir, "data", "instances", orphan), { recursive: true });
    mkdirSync(join(engine.dir, "run", "instances", orphan), { recursive: true });
    await engine.host.cgroups.create(engine.ctx, `/berth-abc123/${orphan}`);
    await engine.volumes.service().create(engine.ctx, { ...half, name: "half", madeFor: orphan });
    await engine.volumes.service().create(engine.ctx, { ...half, name: "shared" });
    engine.store.journal.begin("instance.create", orphan, { volumes: ["half", "shared"] });
    await engine.restart();
    expect(() => engine.service.resolve(internal)).toThrow("No such container");
    expect(engine.machine.tasks.size).toBe(0);
    expect(engine.snapshots.parents.size).toBe(0);
    expect(existsSync(join(engine.dir, "data", "instances", orphan))).toBe(false);
    expect(existsSync(join(engine.dir, "run", "instances", orphan))).toBe(false);
    expect(await engine.host.cgroups.children("/berth-abc123")).toEqual([]);
    expect([...engine.volumes.volumes.keys()]).toEqual(["shared"]);
    expect(engine.store.journal.open()).toEqual([]);
    expect(engine.events.filter(({ actorId }) => actorId === internal)).toEqual([]);
  });

  it("finishes a removal that had begun", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["true"]);
    const remove = engine.driver;
    expect(remove.calls).toEqual([]);
    const records = engine.store.collection<{ state: object }>("instances");
    const record = records.get(id);
    records.put(id, { ...record, state: { ...record?.state, status: "removing" } });
    await engine.restart();
    expect(engine.service.list()).toEqual([]);
    expect(engine.snapshots.parents.size).toBe(0);
  });
});

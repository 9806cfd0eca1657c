/** Starts that take long, as the boot of a machine may, are given up when a user wants that. */
import { describe, expect, it } from "vitest";
import { TestEngine } from "./fake/test-engine.ts";

/** An engine with a start that hangs, of an instance that has the given policy or removal. */
async function starting(overrides: Parameters<TestEngine["create"]>[1] = {}) {
  const engine = new TestEngine();
  const id = await engine.create(["sleep", "1000"], overrides);
  const reached = engine.driver.hangNextStart();
  const started = engine.service.start(engine.ctx, id).then(
    () => "started",
    (error: unknown) => String(error),
  );
  await reached;
  return { engine, id, started };
}

describe("a start that is under way", () => {
  it.each([
    ["killed", (engine: TestEngine, id: string) => engine.service.kill(engine.ctx, id, "SIGKILL")],
    ["killed", (engine: TestEngine, id: string) => engine.service.kill(engine.ctx, id, "INT")],
    ["stopped", (engine: TestEngine, id: string) => engine.service.stop(engine.ctx, id, {})],
  ])("is %s, and nothing of it is left", async (how, act) => {
    const { engine: made, id, started } = await starting();
    await using engine = made;
    await act(engine, id);
    expect(await started).toContain(`was broken off: it was ${how} before its process ran`);
    expect(engine.service.resolve(id).state).toMatchObject({ status: "created", exitCode: 137, handle: null });
    expect([engine.machine.tasks.size, engine.networks.sandboxes.size, engine.snapshots.mounted.size]).toEqual([
      0, 0, 0,
    ]);
    await engine.service.start(engine.ctx, id);
    expect(engine.service.resolve(id).state.status).toBe("running");
  });

  it("is removed by force, and not without", async () => {
    const { engine: made, id, started } = await starting();
    await using engine = made;
    await engine.service.remove(engine.ctx, id, { force: true, volumes: false });
    expect(await started).toContain("it was removed before its process ran");
    expect(() => engine.service.resolve(id)).toThrow("No such container");
    expect(engine.machine.tasks.size).toBe(0);
  });

  it("that is for once only goes when it is interrupted", async () => {
    const { engine: made, id, started } = await starting({ autoRemove: true });
    await using engine = made;
    await engine.service.kill(engine.ctx, id, "INT");
    expect(await started).toContain("was broken off");
    expect(() => engine.service.resolve(id)).toThrow("No such container");
  });

  it("is not disturbed by a signal that ends nothing", async () => {
    const { engine: made, id, started } = await starting();
    await using engine = made;
    await expect(engine.service.kill(engine.ctx, id, "USR1")).rejects.toMatchObject({ code: "KILL_NOT_RUNNING" });
    await engine.service.kill(engine.ctx, id, "KILL");
    expect(await started).toContain("was broken off");
  });

  it("by its policy is called off", async () => {
    await using engine = new TestEngine();
    const always = { restartPolicy: { name: "always", maximumRetryCount: 0 } } as const;
    const id = await engine.run(["sleep", "1000"], always);
    const reached = engine.driver.hangNextStart();
    engine.machine.task(id).finish(1);
    await reached;
    await engine.service.stop(engine.ctx, id, {});
    expect(engine.service.resolve(id).state.status).toBe("exited");
    await engine.service.settled();
    expect(engine.machine.tasks.size).toBe(0);
  });
});

it("has the reason of an end that its driver tells, as after a start whose engine died", async () => {
  await using engine = new TestEngine();
  const id = await engine.run(["sleep", "1000"]);
  engine.machine.task(id).finish(127, { error: "no such program" });
  await expect
    .poll(() => engine.service.resolve(id).state)
    .toMatchObject({ status: "exited", error: "no such program" });
});

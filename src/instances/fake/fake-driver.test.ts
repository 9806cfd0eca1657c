import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { newId } from "../../base/ids.ts";
import { background } from "../../base/op-context.ts";
import { driverContract } from "../driver.contract.ts";
import { FakeDriver, FakeMachine } from "./fake-driver.ts";
import { instanceSpec } from "./instance-spec.ts";
import { prepareRequest } from "./prepare-request.ts";

driverContract("fake", {
  kernel: false,
  commandIsSought: "prepare",
  open: async () => {
    const dir = await mkdtemp(join(tmpdir(), "berth-fake-"));
    const machine = new FakeMachine();
    return {
      driver: new FakeDriver(machine),
      reopen: async () => new FakeDriver(machine),
      request: async (spec, overrides) => {
        const id = newId();
        return { ...prepareRequest(id, spec, dir), logPath: join(dir, `${id}.log`), ...overrides };
      },
      remains: async (id) => (machine.tasks.has(id) ? ["task"] : []),
      [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
    };
  },
});

describe("fake driver", () => {
  const ctx = background();

  it("lets a test write output and choose the end", async () => {
    const driver = new FakeDriver();
    const { handle } = await driver.prepare(ctx, prepareRequest("one", instanceSpec(["sleep", "1000"]), "/nowhere"));
    await driver.start(ctx, handle);
    const io = await driver.attach(ctx, handle);
    driver.machine.task("one").write("stderr", "hello");
    driver.machine.task("one").finish(137, { oomKilled: true });
    const frames = await io.output.toArray();
    expect(frames).toEqual([{ stream: "stderr", data: Buffer.from("hello") }]);
    expect(await driver.wait(ctx, handle)).toMatchObject({ exitCode: 137, oomKilled: true });
  });

  it("fails once when told to", async () => {
    const driver = new FakeDriver();
    driver.failNext("prepare", new Error("no"));
    const request = prepareRequest("one", instanceSpec(["true"]), "/nowhere");
    await expect(driver.prepare(ctx, request)).rejects.toThrow("no");
    expect((await driver.prepare(ctx, request)).pid).toBeGreaterThan(0);
  });

  it("forgets everything at a reboot", async () => {
    const driver = new FakeDriver();
    const { handle } = await driver.prepare(ctx, prepareRequest("one", instanceSpec(["sleep", "1000"]), "/nowhere"));
    driver.machine.reboot();
    expect(await driver.recover(ctx, handle)).toEqual({ status: "lost" });
  });
});

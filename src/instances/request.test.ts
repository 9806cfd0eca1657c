import { describe, expect, it } from "vitest";
import { instanceSpec, type SpecOverrides } from "./fake/instance-spec.ts";
import { TestEngine } from "./fake/test-engine.ts";
import { claimOf } from "./request.ts";
import { unlimited } from "../schema/resources.ts";

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;
const claim = (overrides: SpecOverrides) => claimOf({ id: "i", name: "n", spec: instanceSpec([], overrides) });
const limits = (change: Partial<typeof unlimited>) => ({ resources: { ...unlimited, ...change } });

describe("what an instance requests", () => {
  it("is nothing, and unbounded, when it states nothing", () => {
    expect(claim({})).toEqual({
      owner: { kind: "container", id: "i", name: "n" },
      request: { cpu: 0, memory: 0, pids: 0, disk: 0 },
      unbounded: ["cpu", "memory", "pids", "disk"],
    });
  });

  it("is its limits", () => {
    expect(claim(limits({ memory: 64 * MiB, nanoCpus: 5e8, pidsLimit: 100 }))).toMatchObject({
      request: { cpu: 5e8, memory: 64 * MiB, pids: 100, disk: 0 },
      unbounded: ["disk"],
    });
    expect(claim(limits({ cpuQuota: 150_000 })).request.cpu).toBe(15e8);
    expect(claim(limits({ cpuQuota: 50_000, cpuPeriod: 25_000 })).request.cpu).toBe(2e9);
    expect(claim(limits({ pidsLimit: -1 }))).toMatchObject({ request: { pids: 0 } });
  });

  it("is its memory reservation rather than its memory limit", () => {
    expect(claim(limits({ memory: 64 * MiB, memoryReservation: 16 * MiB })).request.memory).toBe(16 * MiB);
  });

  it("is what its labels say before all, nothing included", () => {
    const labels = {
      "berth.request.cpus": "0.25",
      "berth.request.memory": "0",
      "berth.request.pids": "7",
      "berth.request.disk": "1.5g",
    };
    expect(claim({ ...limits({ memory: 64 * MiB, nanoCpus: 5e8 }), labels })).toMatchObject({
      request: { cpu: 25e7, memory: 0, pids: 7, disk: 1.5 * GiB },
      unbounded: [],
    });
  });
});

describe("what a virtual machine requests", () => {
  it("is its limit and what runs it, also when it states nothing", () => {
    const vm = { isolation: "vm" } as const;
    expect(claim({ ...vm, ...limits({ memory: 64 * MiB }) })).toMatchObject({
      owner: { kind: "vm" },
      request: { memory: (64 + 256) * MiB },
    });
    expect(claim(vm)).toMatchObject({ request: { memory: (512 + 256) * MiB }, unbounded: ["cpu", "pids", "disk"] });
  });
});

describe("admission of instances", () => {
  const big = limits({ memory: 5 * GiB });

  it("refuses a label that says nothing before anything is made", async () => {
    await using engine = new TestEngine();
    const create = (labels: Record<string, string>) => engine.create(["true"], { labels });
    await expect(create({ "berth.request.memory": "much" })).rejects.toThrow(/a size such as 256m/);
    await expect(create({ "berth.request.ram": "1g" })).rejects.toThrow(/berth.request.memory/);
    expect(engine.snapshots.parents.size).toBe(0);
  });

  it("starts one of two that come at the same time and don't fit together, and leaves nothing of the other", async () => {
    await using engine = new TestEngine();
    const ids = [await engine.create(["sleep", "9"], big), await engine.create(["sleep", "9"], big)];
    const starts = await Promise.allSettled(ids.map((id) => engine.service.start(engine.ctx, id)));
    expect(starts.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(engine.service.resolve(ids[1] ?? "").state).toMatchObject({
      status: "created",
      error: expect.stringContaining("not enough capacity"),
    });
    expect(engine.snapshots.mounted.size).toBe(1);
    await engine.service.stop(engine.ctx, ids[0] ?? "", {});
    expect(await engine.service.start(engine.ctx, ids[1] ?? "")).toEqual({ started: true });
  });

  it("comes to the same claims after the engine was killed", async () => {
    await using engine = new TestEngine();
    await engine.run(["sleep", "9"], { ...big, name: "one" });
    await engine.run(["sleep", "9"], { ...limits({ memory: GiB, nanoCpus: 1e9 }), name: "two" });
    await engine.create(["sleep", "9"], { ...limits({ memory: GiB }), name: "three" });
    const before = engine.service.claims();
    expect(before.map(({ owner, request }) => [owner.name, request.memory])).toEqual([
      ["one", 5 * GiB],
      ["two", GiB],
    ]);
    await engine.restart();
    expect(engine.service.claims()).toEqual(before);
  });

  it("keeps running what recovery finds beyond a smaller limit, and lets it restart, but nothing more start", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "9"], big);
    engine.totals = { ...engine.totals, memory: 2 * GiB };
    await engine.restart();
    expect(engine.service.resolve(id).state.status).toBe("running");
    await engine.service.restart(engine.ctx, id, {});
    expect(engine.service.resolve(id).state.status).toBe("running");
    await expect(engine.run(["true"], limits({ memory: 8 * MiB }))).rejects.toThrow(/0 B are left/);
    expect(await engine.run(["true"])).toBeDefined();
  });

  it("refuses an update that raises a running one's request beyond what is left, and changes nothing", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "9"], big);
    await engine.run(["sleep", "9"], limits({ memory: 2 * GiB }));
    const update = (memory: number) => engine.service.update(engine.ctx, id, { resources: { memory, memorySwap: -1 } });
    await expect(update(7 * GiB)).rejects.toThrow(/6 GiB of memory would fit/);
    expect(engine.service.resolve(id).spec.resources.memory).toBe(5 * GiB);
    await update(6 * GiB);
    expect(engine.service.resolve(id).spec.resources.memory).toBe(6 * GiB);
  });

  it("keeps disk space from the first start until it is removed", async () => {
    await using engine = new TestEngine();
    const labels = { "berth.request.disk": "150g" };
    const first = await engine.run(["sleep", "9"], { labels });
    await engine.service.stop(engine.ctx, first, {});
    await expect(engine.run(["true"], { labels })).rejects.toThrow(/50 GiB of disk space would fit/);
    expect(await engine.service.start(engine.ctx, first)).toEqual({ started: true });
    await engine.service.remove(engine.ctx, first, { force: true, volumes: false });
    expect(await engine.run(["true"], { labels })).toBeDefined();
  });
});

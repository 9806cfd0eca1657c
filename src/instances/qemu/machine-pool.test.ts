import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLogger } from "../../base/logger.ts";
import type { PrepareRequest } from "../driver.ts";
import { instanceSpec } from "../fake/instance-spec.ts";
import { machineMemory, memoryOverhead } from "./machine-size.ts";
import { MachinePool } from "./machine-pool.ts";
import type { TemplateRequest } from "./template-maker.ts";
import type { WaitingMachine } from "./waiting-machine.ts";

const each = machineMemory({ memory: 0 }) + memoryOverhead;

/** Makes machines of nothing; a test can hold them up, kill them, and see how they end. */
class FakeKeepers {
  readonly ended: string[] = [];
  readonly dead = new Set<string>();
  made = 0;
  failure: Error | undefined;
  held: Promise<void> = Promise.resolve();

  async make({ signal }: { readonly signal: AbortSignal }): Promise<WaitingMachine> {
    const id = `m${++this.made}`;
    await this.held;
    signal.throwIfAborted();
    if (this.failure !== undefined) throw this.failure;
    const jail = { driver: "oci", version: 1, state: {} };
    return { keeper: { id, dir: "", jail }, qemu: { pid: this.made, startTime: 1 }, scratch: "" };
  }

  isAlive({ keeper }: WaitingMachine): boolean {
    return !this.dead.has(keeper.id);
  }

  async end(_ctx: unknown, { keeper }: WaitingMachine): Promise<void> {
    this.ended.push(keeper.id);
  }
}

const like = (key: string): TemplateRequest => {
  const request: PrepareRequest = {
    id: "i",
    spec: instanceSpec(["true"], { isolation: "vm" }),
    dir: "",
    dataDir: "",
    chainId: "",
    rootfs: "",
    mounts: [],
    hostname: "",
    namespaces: { network: "private", pid: "private", ipc: "private", uts: "private", cgroup: "private" },
    interfaces: [],
    endpoints: [],
    cgroupPath: "/p/i",
    logPath: "",
  };
  const path = "/none";
  const parts = { vmm: path, spec: path, kernel: path, initrd: path, image: path, blank: path, scratch: path };
  return {
    key,
    request,
    fields: [],
    parts: { ...parts, runDir: path, kvm: false, shares: [] },
    ground: "",
    scratch: async () => {},
  };
};

let keepers: FakeKeepers;
let templates: Set<string>;
let busy: boolean;
let left: number;
let pool: MachinePool;
const open = (size: number) =>
  new MachinePool({
    settings: {
      size,
      left: () => left - pool.claims().reduce((sum, { request }) => sum + request.memory, 0),
      isBusy: () => busy,
    },
    keepers,
    templates: { peek: (key) => (templates.has(key) ? { key, directory: "" } : undefined) },
    log: silentLogger,
  });
beforeEach(() => {
  keepers = new FakeKeepers();
  templates = new Set(["a", "b"]);
  busy = false;
  left = 100 * each;
  pool = open(2);
});
afterEach(() => pool.close());

describe("a pool", () => {
  it("has as many of a template in use as it is to have, and fills up what is taken", async () => {
    pool.used(like("a"));
    expect(pool.take("a")).toBeUndefined();
    await pool.settled();
    expect(pool.waiting).toBe(2);
    expect(pool.take("b")).toBeUndefined();
    expect(pool.take("a")?.keeper.id).toBe("m1");
    expect(pool.waiting).toBe(1);
    pool.used(like("a"));
    await pool.settled();
    expect(pool.waiting).toBe(2);
    expect(keepers.ended).toEqual([]);
  });

  it("of size 0 makes none", async () => {
    const none = open(0);
    none.used(like("a"));
    await none.settled();
    expect(keepers.made).toBe(0);
  });

  it("makes none while something is being started", async () => {
    busy = true;
    pool.used(like("a"));
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(keepers.made).toBe(0);
    busy = false;
    await pool.settled();
    expect(keepers.made).toBe(2);
  });

  it("counts in the ledger from before a machine is made to when it is taken", async () => {
    const holding = Promise.withResolvers<void>();
    keepers.held = holding.promise;
    pool.used(like("a"));
    await expect.poll(() => keepers.made).toBe(1);
    expect(pool.claims()).toMatchObject([{ owner: { kind: "pool" }, request: { memory: each, cpu: 0 } }]);
    holding.resolve();
    await pool.settled();
    expect(pool.claims()).toHaveLength(2);
    pool.take("a");
    expect(pool.claims()).toMatchObject([{ owner: { id: "m2" } }]);
  });

  it("gives up as many as are asked for, those of the template that was used first, or none when that helps nobody", async () => {
    pool.used(like("a"));
    await pool.settled();
    pool.used(like("b"));
    await pool.settled();
    left = 0;
    expect(pool.giveUp(4 * each + 1)).toBe(false);
    expect(keepers.ended).toEqual([]);
    expect(pool.giveUp(2 * each + 1)).toBe(true);
    expect(keepers.ended).toEqual(["m1", "m2", "m3"]);
    expect(pool.claims()).toMatchObject([{ owner: { id: "m4" } }]);
  });

  it("gives up the one that is being made before those that wait", async () => {
    pool.used(like("a"));
    await pool.settled();
    const holding = Promise.withResolvers<void>();
    keepers.held = holding.promise;
    pool.used(like("b"));
    await expect.poll(() => keepers.made).toBe(3);
    left = 0;
    expect(pool.giveUp(each)).toBe(true);
    expect(pool.claims().map(({ owner }) => owner.id)).toEqual(["m1", "m2"]);
    holding.resolve();
    await pool.settled();
    expect(pool.waiting).toBe(2);
    expect(keepers.ended).toEqual([]);
  });

  it("notices those that were killed, and templates that have gone", async () => {
    pool.used(like("a"));
    await pool.settled();
    keepers.dead.add("m1");
    expect(pool.take("a")?.keeper.id).toBe("m2");
    expect(keepers.ended).toEqual(["m1"]);
    pool.used(like("b"));
    await pool.settled();
    const [, , ofB] = pool.claims();
    templates.delete("b");
    pool.review();
    await pool.settled();
    expect(keepers.ended).toContain(ofB?.owner.id);
    expect(pool.take("b")).toBeUndefined();
  });

  it("tries three times with a template of which none can be made", async () => {
    keepers.failure = new Error("no");
    pool.used(like("a"));
    await pool.settled();
    expect(keepers.made).toBe(3);
    pool.used(like("a"));
    await pool.settled();
    expect(keepers.made).toBe(3);
  });

  it("ends them all when it is closed", async () => {
    pool.used(like("a"));
    await pool.settled();
    await pool.close();
    expect(keepers.ended).toEqual(["m1", "m2"]);
    expect(pool.waiting).toBe(0);
    pool.used(like("a"));
    await pool.settled();
    expect(keepers.made).toBe(2);
  });
});

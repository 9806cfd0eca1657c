/** Networks that come to a running instance, and go, where somebody inside has to be told. */
import { describe, expect, it } from "vitest";
import type { DriverInside, DriverNetworks, NetworksInside } from "./driver.ts";
import { instanceSpec } from "./fake/instance-spec.ts";
import { TestEngine } from "./fake/test-engine.ts";

const unused = async () => Promise.reject(new Error("not asked here"));
const inside: DriverInside = {
  rests: false,
  stat: unused,
  pack: unused,
  changes: unused,
  packChanges: unused,
  unpack: unused,
  processes: unused,
};

/** A guest that notes what it was told last; with `fails` it refuses that many times. */
function guest({ fails = 0 }: { readonly fails?: number } = {}) {
  const told: NetworksInside[] = [];
  const networks: DriverNetworks = {
    set: async (_ctx, _handle, now) => {
      told.push(now);
      if (told.length <= fails) throw new Error("the guest is busy");
    },
  };
  return { inside, networks, told };
}

const vm = { isolation: "vm" } as const;

async function running(engine: TestEngine) {
  const { network } = instanceSpec([]);
  const id = await engine.run(["sleep", "1000"], { ...vm, network: { ...network, mode: "id-of-bridge" } });
  return { id, connect: () => engine.service.connect(engine.ctx, id, "app", { aliases: ["late"] }) };
}

describe("a machine's networks", () => {
  it("are told to it as a whole, with the files that name them, when one comes or goes", async () => {
    const { told, ...parts } = guest();
    await using engine = new TestEngine(parts);
    const { id, connect } = await running(engine);
    expect(told).toEqual([]);
    await connect();
    expect(told).toMatchObject([{ interfaces: ["eth0"], endpoints: [{ networkName: "app" }] }]);
    expect(told[0]?.mounts.map(({ target }) => target)).toEqual(["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"]);
    expect(Object.keys(engine.service.resolve(id).spec.network.endpoints)).toContain("app");
    await engine.service.disconnect(engine.ctx, id, "app", false);
    expect(told[1]).toMatchObject({ interfaces: [], endpoints: [] });
    expect(Object.keys(engine.service.resolve(id).spec.network.endpoints)).not.toContain("app");
    expect(engine.store.journal.open()).toEqual([]);
  });

  it("stay as they were when it can't have another one", async () => {
    const { told, ...parts } = guest({ fails: 1 });
    await using engine = new TestEngine(parts);
    const { id, connect } = await running(engine);
    await expect(connect()).rejects.toThrow("the guest is busy");
    expect(told.map(({ interfaces }) => interfaces)).toEqual([["eth0"], []]);
    expect(engine.networks.sandboxes.get(id)?.endpoints).toEqual([]);
    expect(Object.keys(engine.service.resolve(id).spec.network.endpoints)).toEqual(["bridge"]);
    await connect();
  });

  it("are told again after the engine's death in between, without the one that was on its way", async () => {
    const { told, ...parts } = guest();
    await using engine = new TestEngine(parts);
    const { id, connect } = await running(engine);
    await connect();
    engine.store.journal.begin("instance.network", id, { network: "id-of-app" });
    await engine.restart();
    expect(told.at(-1)).toMatchObject({ interfaces: [] });
    expect(Object.keys(engine.service.resolve(id).spec.network.endpoints)).toEqual(["bridge"]);
    expect(engine.store.journal.open()).toEqual([]);
  });

  it("have no link-local addresses: nobody would set them inside", async () => {
    await using engine = new TestEngine(guest());
    const { id } = await running(engine);
    const linkLocal = { aliases: [], linkLocalAddresses: ["169.254.1.1"] };
    const refusal = { code: "LINK_LOCAL_INSIDE" };
    await expect(engine.service.connect(engine.ctx, id, "app", linkLocal)).rejects.toMatchObject(refusal);
    const { network } = instanceSpec([]);
    const withOne = { ...network, mode: "bridge", endpoints: { bridge: linkLocal } };
    await expect(engine.run(["true"], { ...vm, network: withOne })).rejects.toMatchObject(refusal);
  });

  it("are left alone while it is paused: nobody there can be told", async () => {
    const { told, ...parts } = guest();
    await using engine = new TestEngine(parts);
    const { id, connect } = await running(engine);
    await engine.service.pause(engine.ctx, id);
    await expect(connect()).rejects.toMatchObject({ code: "INSIDE_NEEDS_RUNNING" });
    expect(told).toEqual([]);
  });
});

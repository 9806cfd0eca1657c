/** The service on a fake host: records, order of effects, roll-back, events. What the kernel makes of it is tested on a real one. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { silentLogger } from "../base/logger.ts";
import { background } from "../base/op-context.ts";
import { FakeHost } from "../host/fake/fake-host.ts";
import type { NetworkSpec } from "../schema/network.ts";
import { EventBus } from "../state/events.ts";
import { MemoryStore } from "../state/fake/memory-store.ts";
import { createNetworkService, type EngineNetworks } from "./engine-networks.ts";
import { scriptDnsmasq } from "./fake/fake-dnsmasq.ts";
import type { HostRoute } from "./host-routes.ts";
import type { SandboxRequest } from "./network-service.ts";

const ctx = background();
const tag = "abc123";

describe("networks", () => {
  let runRoot: string;
  let routes: readonly HostRoute[];
  let host: FakeHost;
  let store: MemoryStore;
  let events: EventBus;
  let networks: EngineNetworks;

  beforeEach(async () => {
    runRoot = mkdtempSync(join(tmpdir(), "berth-networks-"));
    host = new FakeHost({ uplinkMtu: () => 1400 });
    scriptDnsmasq(host.processes);
    store = new MemoryStore();
    routes = [];
    networks = open();
    await networks.recover(ctx, []);
  });
  afterEach(() => {
    networks.close();
    rmSync(runRoot, { recursive: true, force: true });
  });

  function open(config: { bip?: string } = {}): EngineNetworks {
    events = new EventBus();
    return createNetworkService({
      store,
      host,
      events,
      config: {
        bip: "",
        bridge: "",
        mtu: 0,
        addressPools: [{ base: "10.213.0.0/16", size: 24 }],
        dns: [],
        dnsSearch: [],
        ...config,
      },
      tag,
      runRoot,
      log: silentLogger,
      portLeases: join(runRoot, "leases"),
      bindTest: async () => ({ kind: "free" }),
      hostRoutes: async () => routes,
    });
  }

  const interfaces = async () => (await host.kernel.links()).map(({ name }) => name).filter((name) => name !== "lo");
  const opsOf = (name: string) => host.kernel.ops.filter(({ op }) => op === name);

  it("begin with the three that are always there, and nothing on the host", () => {
    expect(networks.list().map(({ spec, builtin }) => [spec.name, spec.driver, builtin])).toEqual([
      ["bridge", "bridge", true],
      ["host", "host", true],
      ["none", "null", true],
    ]);
    expect(networks.resolve("bridge")).toMatchObject({ bridge: `brt${tag}`, mtu: 1400 });
    expect(networks.resolve("default").id).toBe(networks.resolve("bridge").id);
    expect(opsOf("bridge-create")).toEqual([]);
  });

  it("keep their ids over a restart; the default bridge follows the configuration", async () => {
    const before = networks.list().map(({ id }) => id);
    networks = open({ bip: "10.99.0.1/24" });
    await networks.recover(ctx, []);
    expect(networks.list().map(({ id }) => id)).toEqual(before);
    expect(networks.resolve("bridge").spec.ipam).toEqual([{ subnet: "10.99.0.0/24", gateway: "10.99.0.1" }]);
    networks = open({ bip: "10.99.0.0/24" });
    await expect(networks.recover(ctx, [])).rejects.toThrow("it names a network, not an address");
  });

  it("are made with a subnet of their own, found by name, id and prefix, and removed", async () => {
    const { network } = await networks.create(ctx, spec("app"));
    expect(network.bridge).toBe(`brt-${network.id.slice(0, 8)}`);
    expect(network.spec.ipam).toEqual([{ subnet: "10.213.1.0/24", gateway: "10.213.1.1" }]);
    expect(opsOf("bridge-create")).toHaveLength(1);
    for (const key of ["app", network.id, network.id.slice(0, 6)]) expect(networks.resolve(key)).toEqual(network);
    expect(await networks.remove(ctx, "app")).toEqual(network);
    expect(opsOf("link-delete")).toEqual([{ op: "link-delete", name: network.bridge }]);
    expect(() => networks.resolve("app")).toThrow("network app not found");
    expect(events.recent().map(({ action, attributes }) => [action, attributes])).toEqual([
      ["create", { name: "app", type: "bridge" }],
      ["destroy", { name: "app", type: "bridge" }],
    ]);
    expect(store.journal.open()).toEqual([]);
  });

  it.each([
    [spec(""), 400, "invalid name: name is empty"],
    [spec("a/b"), 400, 'invalid name: "a/b" includes invalid characters'],
    [spec("bridge"), 403, "operation is not permitted on predefined bridge network "],
    [spec("taken"), 409, "network with name taken already exists"],
    [spec("h", { driver: "host" }), 403, 'only one instance of "host" network is allowed'],
    [
      spec("o", { ipam: [{ subnet: "10.213.1.0/28" }] }),
      403,
      "invalid pool request: Pool overlaps with other one on this address space",
    ],
    [
      spec("s", { ipam: [{ subnet: "zz" }] }),
      400,
      "invalid network config:\ninvalid subnet zz: invalid CIDR block notation",
    ],
  ])("refuse %j", async (wrong, status, message) => {
    await networks.create(ctx, spec("taken"));
    const before = host.kernel.ops.length;
    await expect(networks.create(ctx, wrong)).rejects.toMatchObject({ status, message });
    expect(host.kernel.ops.length).toBe(before);
    expect(networks.list()).toHaveLength(4);
  });

  it("leave nothing when the kernel refuses", async () => {
    using _failure = host.kernel.failWhen((op) =>
      op.op === "nft-script" && op.script.includes("add rule") ? "EPERM" : undefined,
    );
    await expect(networks.create(ctx, spec("app"))).rejects.toMatchObject({ code: "KERNEL_OP_FAILED" });
    expect(networks.list()).toHaveLength(3);
    expect(await interfaces()).toEqual([]);
    expect(store.journal.open()).toEqual([]);
  });

  it("are taken back when the engine died while it made them", async () => {
    const { network } = await networks.create(ctx, spec("app"));
    store.journal.begin("network.create", network.id, {});
    networks = open();
    await networks.recover(ctx, []);
    expect(networks.list()).toHaveLength(3);
    expect(await interfaces()).toEqual([]);
  });

  it("prune what is unused and matches", async () => {
    await networks.create(ctx, spec("plain"));
    await networks.create(ctx, spec("kept", { labels: { keep: "1" } }));
    await networks.setUp(ctx, request("web", "bridge"));
    expect(await networks.prune(ctx, { "label!": ["keep"], until: ["1h"] })).toEqual([]);
    expect(await networks.prune(ctx, { "label!": ["keep"] })).toEqual(["plain"]);
    await expect(networks.prune(ctx, { colour: ["red"] })).rejects.toThrow("invalid filter 'colour'");
    await expect(networks.prune(ctx, { until: ["soon"] })).rejects.toThrow("invalid filter 'until=soon'");
    expect(networks.list().map((network) => network.spec.name)).toEqual(["bridge", "host", "none", "kept"]);
  });

  it("set an instance up in one batch, without a process after the first", async () => {
    await networks.setUp(ctx, request("first", "bridge"));
    const runs = host.processes.runs.length;
    const before = host.kernel.ops.length;
    const ports = [{ containerPort: 80, hostPort: 8080, protocol: "tcp" as const, hostIp: "" }];
    const sandbox = await networks.setUp(ctx, { ...request("second", "bridge"), ports });
    expect(host.processes.runs.length).toBe(runs);
    expect(host.kernel.ops.slice(before).map(({ op }) => op)).toEqual([
      "nft-require",
      "netns-create",
      "sysctl",
      "sysctl",
      "veth-create",
      "sysctl",
      "link-configure",
      "nft-add-elements",
    ]);
    expect(sandbox.endpoints[0]).toMatchObject({
      interfaceName: "eth0",
      ipv4Cidr: "10.213.0.3/24",
      gateway: "10.213.0.1",
      macAddress: "02:42:0a:d5:00:03",
    });
    expect(host.kernel.nftElements.get(`berth_${tag}/dnat4_any`)).toEqual(new Map([["tcp . 8080", "10.213.0.3 . 80"]]));
    expect(networks.sandbox(sandbox.instanceId)).toEqual(sandbox);
    expect(networks.endpointsOf(networks.resolve("bridge").id).map(({ instanceName }) => instanceName)).toEqual([
      "first",
      "second",
    ]);

    await networks.tearDown(ctx, sandbox.instanceId);
    await networks.tearDown(ctx, sandbox.instanceId);
    expect(host.kernel.nftElements.get(`berth_${tag}/dnat4_any`)?.size).toBe(0);
    expect(opsOf("link-delete")).toEqual([]);
    expect(existsSync(sandbox.netnsPath)).toBe(false);
    expect(readdirSync(join(runRoot, "sandboxes"))).toHaveLength(1);
    expect(events.recent().map(({ action, attributes }) => [action, attributes["container"]?.slice(0, 6)])).toEqual([
      ["connect", "first0"],
      ["connect", "second"],
      ["disconnect", "second"],
    ]);
  });

  it("mend for all what somebody took away, once, and go on", async () => {
    host.processes.script("nft", () => ({ stdout: JSON.stringify({ nftables: [] }) }));
    const { endpoints } = await networks.setUp(ctx, request("first", "bridge"));
    const bridge = `brt${tag}`;
    await host.kernel.apply(ctx, [{ op: "link-delete", name: bridge }]);
    host.kernel.flushedTables.add(`berth_${tag}`);
    const raised = opsOf("bridge-create").length;
    await Promise.all([
      networks.setUp(ctx, request("second", "bridge")),
      networks.setUp(ctx, request("third", "bridge")),
    ]);
    expect(opsOf("bridge-create").length).toBe(raised + 1);
    const links = await host.kernel.links();
    const master = links.find(({ name }) => name === bridge)?.index;
    expect(links.find(({ name }) => name === endpoints[0]?.hostInterface)).toMatchObject({ master });
    host.kernel.flushedTables.add(`berth_${tag}`);
    await networks.setUp(ctx, request("fourth", "bridge"));
    expect(host.kernel.flushedTables.size).toBe(0);
  });

  it("take a half-made set-up back: address, port, files and record", async () => {
    await networks.setUp(ctx, request("first", "bridge"));
    const ports = [{ containerPort: 80, hostPort: 8080, protocol: "tcp" as const, hostIp: "" }];
    {
      using _failure = host.kernel.failWhen((op) => (op.op === "link-configure" ? "EINVAL" : undefined));
      await expect(networks.setUp(ctx, { ...request("broken", "bridge"), ports })).rejects.toThrow("EINVAL");
    }
    expect(networks.sandbox(request("broken", "bridge").instanceId)).toBeUndefined();
    expect(readdirSync(join(runRoot, "sandboxes"))).toHaveLength(1);
    expect(readdirSync(join(runRoot, "netns"))).toHaveLength(1);
    expect(events.recent()).toHaveLength(1);
    const again = await networks.setUp(ctx, { ...request("again", "bridge"), ports });
    expect(again.ports[0]?.hostPort).toBe(8080);
  });

  it("refuse what can't be before anything is done", async () => {
    const ops = host.kernel.ops.length;
    await expect(networks.setUp(ctx, request("lost", "nowhere"))).rejects.toThrow("network nowhere not found");
    await expect(networks.setUp(ctx, { ...request("bad", "bridge"), extraHosts: ["a:b"] })).rejects.toThrow(
      "invalid IP address in add-host",
    );
    expect(opsOf("netns-create")).toEqual([]);
    expect(host.kernel.ops.length).toBeGreaterThan(ops);
    const fixed = { ...request("fixed", "bridge"), endpoints: { bridge: { aliases: [], ipv4Address: "10.213.0.9" } } };
    await expect(networks.setUp(ctx, fixed)).rejects.toThrow(
      "user specified IP address is supported on user defined networks only",
    );
  });

  it("say before anything is set up which addresses an endpoint can't have", async () => {
    await networks.create(ctx, spec("dual", { ipam: [{ subnet: "10.219.0.0/24" }, { subnet: "fd00:19::/64" }] }));
    const check = (network: string, addresses: object) => () =>
      networks.checkEndpoint(network, { aliases: [], ...addresses });
    expect(check("dual", { ipv4Address: "10.219.0.9", ipv6Address: "fd00:19::9" })).not.toThrow();
    expect(check("dual", { ipv4Address: "10.218.0.9" })).toThrow(
      "no configured subnet or ip-range contain the IP address 10.218.0.9",
    );
    expect(check("dual", { ipv6Address: "10.219.0.9" })).toThrow("invalid IPv6 address: 10.219.0.9");
    expect(check("bridge", { ipv4Address: "10.213.0.9" })).toThrow("supported on user defined networks only");
    expect(check("nowhere", {})).toThrow("network nowhere not found");
  });

  it("give the addresses of a refused instance back", async () => {
    await networks.create(ctx, spec("small", { ipam: [{ subnet: "10.220.0.0/30" }] }));
    const wrong = [
      { ...request("bad", "small"), extraHosts: ["a:b"] },
      { ...request("linked", "small"), endpoints: { small: { aliases: [], links: [":"] } } },
      {
        ...request("sysctl", "small"),
        ports: [{ containerPort: 80, hostPort: 8080, protocol: "tcp" as const, hostIp: "::1" }],
      },
    ];
    for (const each of wrong) await expect(networks.setUp(ctx, each)).rejects.toThrow(/invalid|IPv6/);
    expect((await networks.setUp(ctx, request("fine", "small"))).endpoints[0]?.ipv4Cidr).toBe("10.220.0.2/30");
    await expect(networks.setUp(ctx, request("more", "small"))).rejects.toMatchObject({ code: "SUBNET_EXHAUSTED" });
  });

  it("put the default route and the ports back when a connect fails on the way", async () => {
    await networks.create(ctx, spec("app"));
    const ports = [{ containerPort: 80, hostPort: 8080, protocol: "tcp" as const, hostIp: "" }];
    const web = await networks.setUp(ctx, { ...request("web", "bridge"), ports });
    const published = () => host.kernel.nftElements.get(`berth_${tag}/dnat4_any`)?.get("tcp . 8080");
    {
      using _failure = host.kernel.failWhen((op) =>
        op.op === "route-replace" && op.route.gateway === "10.213.1.1" ? "ENETUNREACH" : undefined,
      );
      await expect(networks.connect(ctx, web.instanceId, "app", { aliases: [], gwPriority: 5 })).rejects.toThrow(
        "ENETUNREACH",
      );
    }
    expect(published()).toBe("10.213.0.2 . 80");
    expect(networks.sandbox(web.instanceId)).toEqual(web);
    const moved = await networks.connect(ctx, web.instanceId, "app", { aliases: [], gwPriority: 5 });
    expect(published()).toBe(`${moved.endpoints[1]?.ipv4Cidr.split("/")[0]} . 80`);
    await networks.disconnect(ctx, web.instanceId, "app");
    expect(published()).toBe("10.213.0.2 . 80");
  });

  it("can be left whatever there is of a connection, and stay connected when they can't be left", async () => {
    await networks.create(ctx, spec("app"));
    const web = await networks.setUp(ctx, request("web", "bridge"));
    const connected = await networks.connect(ctx, web.instanceId, "app", { aliases: [] });
    {
      using _failure = host.kernel.failWhen((op) => (op.op === "link-delete" ? "EIO" : undefined));
      await expect(networks.disconnect(ctx, web.instanceId, "app")).rejects.toMatchObject({ code: "KERNEL_OP_FAILED" });
      expect(networks.sandbox(web.instanceId)).toEqual(connected);
      expect(readdirSync(join(runRoot, "networks", networks.resolve("app").id, "hosts"))).toEqual([web.instanceId]);
    }
    for (const _again of [1, 2]) {
      await networks.leave(ctx, web.instanceId, "app");
      expect(networks.sandbox(web.instanceId)).toEqual(web);
    }
  });

  it("stay for good when their removal can't be recorded", async () => {
    const { network } = await networks.create(ctx, spec("app"));
    const removed = vi.spyOn(store, "transaction").mockImplementationOnce(() => {
      throw new Error("database is locked");
    });
    await expect(networks.remove(ctx, "app")).rejects.toThrow("database is locked");
    removed.mockRestore();
    networks.close();
    networks = open();
    await networks.recover(ctx, []);
    expect(networks.resolve("app").id).toBe(network.id);
  });

  it("can't be joined while they are being removed", async () => {
    const { network } = await networks.create(ctx, spec("app"));
    const removed = networks.remove(ctx, network.id);
    await expect(networks.setUp(ctx, request("late", "app"))).rejects.toMatchObject({ code: "NETWORK_NOT_FOUND" });
    await removed;
    expect(await interfaces()).toEqual([]);
  });

  it("come up although one instance's remains can't be taken away", async () => {
    await networks.setUp(ctx, request("stuck", "bridge"));
    networks.close();
    networks = open();
    using _failure = host.kernel.failWhen((op) => (op.op === "netns-remove" ? "EBUSY" : undefined));
    await networks.recover(ctx, []);
    expect(networks.list()).toHaveLength(3);
    expect(networks.sandbox(request("stuck", "bridge").instanceId)).toBeDefined();
  });

  it("refuse to connect where there is nothing to connect to", async () => {
    const none = await networks.setUp(ctx, { ...request("none", "bridge"), mode: "none", endpoints: {} });
    const web = await networks.setUp(ctx, request("web", "bridge"));
    const to = (id: string, network: string) => networks.connect(ctx, id, network, { aliases: [] });
    await expect(to(none.instanceId, "bridge")).rejects.toThrow(/private \(none\) mode/);
    await expect(to(web.instanceId, "bridge")).rejects.toThrow(
      "endpoint with name web already exists in network bridge",
    );
    await expect(to(web.instanceId, "host")).rejects.toThrow(/must be created in host network mode/);
    await expect(to("nobody", "bridge")).rejects.toMatchObject({ code: "SANDBOX_NOT_FOUND" });
    await expect(networks.disconnect(ctx, web.instanceId, "none")).rejects.toThrow(
      "is not connected to the network none",
    );
  });

  it("move off a subnet that the host has taken meanwhile, unless the user chose it", async () => {
    await networks.create(ctx, spec("app"));
    await networks.create(ctx, spec("chosen", { ipam: [{ subnet: "10.213.77.0/24" }] }));
    await networks.idleTearDown(ctx);
    routes = [
      { family: 4, bits: 0x0ad50100n, prefix: 24, device: "wg0" },
      { family: 4, bits: 0x0ad54d00n, prefix: 24, device: "wg0" },
    ];
    expect((await networks.setUp(ctx, request("web", "app"))).endpoints[0]?.ipv4Cidr).toBe("10.213.2.2/24");
    expect((await networks.setUp(ctx, request("own", "chosen"))).endpoints[0]?.ipv4Cidr).toBe("10.213.77.2/24");
    expect((await networks.setUp(ctx, request("std", "bridge"))).endpoints[0]?.ipv4Cidr).toBe("10.213.0.2/24");
  });

  it("publish names while an instance is there, in files that only ever appear whole", async () => {
    const { network } = await networks.create(ctx, spec("app"));
    const names = join(runRoot, "networks", network.id, "hosts");
    const web = { ...request("web", "app"), endpoints: { app: { aliases: ["www"] } } };
    const { instanceId, endpoints } = await networks.setUp(ctx, web);
    expect(readFileSync(join(names, instanceId), "utf8")).toBe("10.213.1.2 web.app web www web000000000\n");
    expect(endpoints[0]?.dnsNames).toEqual(["web", "www", "web000000000"]);
    await networks.rename(ctx, instanceId, "site");
    expect(readFileSync(join(names, instanceId), "utf8")).toContain("site.app site www");
    expect(networks.sandbox(instanceId)?.instanceName).toBe("site");
    await networks.tearDown(ctx, instanceId);
    expect(readdirSync(names)).toEqual([]);
    await expect(networks.remove(ctx, "app")).resolves.toMatchObject({ id: network.id });
    expect(existsSync(join(runRoot, "networks", network.id))).toBe(false);
  });

  it("go down when nothing is left to serve, and not before", async () => {
    const web = await networks.setUp(ctx, request("web", "bridge"));
    await networks.idleTearDown(ctx);
    expect(await interfaces()).toContain(`brt${tag}`);
    await networks.tearDown(ctx, web.instanceId);
    await networks.idleTearDown(ctx);
    expect(await interfaces()).toEqual([]);
    expect(host.kernel.nftScripts.at(-1)).toBe(`add table inet berth_${tag}\ndelete table inet berth_${tag}\n`);
    const again = await networks.setUp(ctx, request("again", "bridge"));
    expect(readFileSync(again.hostnamePath, "utf8")).toBe("again\n");
  });
});

function spec(name: string, more: Partial<NetworkSpec> = {}): NetworkSpec {
  return {
    name,
    driver: "bridge",
    internal: false,
    attachable: false,
    enableIPv6: false,
    ipam: [],
    options: {},
    labels: {},
    ...more,
  };
}

function request(name: string, network: string): SandboxRequest {
  return {
    instanceId: name.padEnd(64, "0"),
    instanceName: name,
    mode: "bridge",
    hostname: name,
    domainname: "",
    endpoints: { [network]: { aliases: [] } },
    ports: [],
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts: [],
    sysctls: {},
  };
}

/** The room's pure plans: firewall, bridge, sandbox, DNS, files, the host's routes and rules. */
import { describe, expect, it } from "vitest";
import type { NetworkRecord, NetworkSpec } from "../schema/network.ts";
import { bridgeUp } from "./bridge-plan.ts";
import { dnsmasqConfig, dnsNamesOf, endpointNames, linkNames } from "./dns-config.ts";
import { parseForwardRules, planForwardRules } from "./docker-user.ts";
import { parseBridgeOptions } from "./driver-options.ts";
import { firewallScript, publishOps } from "./firewall.ts";
import { parseIpv4Routes, parseIpv6Routes } from "./host-routes.ts";
import { parseExtraHosts, renderHosts } from "./hosts-file.ts";
import { formatCidr } from "./ip-address.ts";
import { NetworkPaths } from "./network-paths.ts";
import { compareElements, parseMapElements } from "./published-ports.ts";
import {
  bridgeResolvConf,
  type HostResolvConf,
  networkResolvConf,
  parseResolvConf,
  renderResolvConf,
} from "./resolv-conf.ts";
import { planResolver } from "./resolver-plan.ts";
import { type Attachment, attachmentUp, defaultGateway, interfaceOrder, macFor, sandboxUp } from "./sandbox-plan.ts";

function network(name: string, subnet: string, more: Partial<NetworkSpec> & { builtin?: boolean } = {}): NetworkRecord {
  const { builtin = false, ...spec } = more;
  return {
    id: name.repeat(8).slice(0, 8).padEnd(64, "0"),
    spec: {
      name,
      driver: "bridge",
      internal: false,
      attachable: false,
      enableIPv6: false,
      ipam: [{ subnet, gateway: subnet.replace(/0\/\d+$/, "1") }],
      options: {},
      labels: {},
      ...spec,
    },
    createdAt: "2026-01-01T00:00:00.000Z",
    bridge: `brt-${name}`,
    mtu: 1400,
    builtin,
  };
}

function attachment(on: NetworkRecord, ipv4Cidr: string, gwPriority = 0, index = 0): Attachment {
  return {
    network: on,
    endpoint: {
      id: `e${index}`,
      networkId: on.id,
      networkName: on.spec.name,
      spec: { aliases: [], gwPriority },
      interfaceName: `eth${index}`,
      hostInterface: `vb${index}`,
      ipv4Cidr,
      gateway: "10.1.0.1",
      macAddress: macFor(ipv4Cidr),
      dnsNames: ["web", "www"],
    },
  };
}

const app = network("app", "10.1.0.0/24");
const inside = network("inside", "10.2.0.0/24", { internal: true });
const standard = network("bridge", "10.3.0.0/24", { builtin: true });

describe("firewall", () => {
  it("replaces chains and sets of bridges, never the maps of published ports", () => {
    const script = firewallScript("abc123", [app, inside]);
    const flushed = script.split("\n").filter((line) => line.startsWith("flush"));
    expect(flushed.every((line) => line.includes("inet berth_abc123"))).toBe(true);
    expect(flushed.some((line) => line.includes("dnat"))).toBe(false);
    expect(script).not.toMatch(/^(delete|flush) (table|ruleset)/m);
    expect(script).toContain('add element inet berth_abc123 bridges { "brt-app", "brt-inside" }');
    expect(script).toContain('add element inet berth_abc123 internal { "brt-inside" }');
    expect(script).toContain("add element inet berth_abc123 masquerade4 { 10.1.0.0/24 }");
  });

  it("leaves a network out of what its options turn off", () => {
    const options = {
      "com.docker.network.bridge.enable_icc": "false",
      "com.docker.network.bridge.enable_ip_masquerade": "0",
    };
    const script = firewallScript("abc123", [network("quiet", "10.4.0.0/24", { options })]);
    expect(script).not.toContain("add element inet berth_abc123 icc");
    expect(script).not.toContain("add element inet berth_abc123 masquerade4");
  });

  it("publishes on one address, on all, and on IPv6 where the container has it", () => {
    const port = { containerPort: 80, hostPort: 8080, protocol: "tcp" } as const;
    const ports = [
      { ...port, hostIp: "0.0.0.0" },
      { ...port, hostIp: "127.0.0.1" },
      { ...port, hostIp: "::1" },
      { ...port, hostIp: "::" },
    ];
    const sets = publishOps("abc123", ports, { ipv4: "10.1.0.2", ipv6: "fd00::2" }).map((op) =>
      "elements" in op ? [op.set, op.elements] : [],
    );
    expect(sets).toEqual([
      ["dnat4", [{ key: "127.0.0.1 . tcp . 8080", value: "10.1.0.2 . 80" }]],
      ["dnat4_any", [{ key: "tcp . 8080", value: "10.1.0.2 . 80" }]],
      ["dnat6", [{ key: "::1 . tcp . 8080", value: "fd00::2 . 80" }]],
      ["dnat6_any", [{ key: "tcp . 8080", value: "fd00::2 . 80" }]],
    ]);
    expect(publishOps("abc123", ports, { ipv4: "10.1.0.2", ipv6: "" })).toHaveLength(2);
  });

  it("reads nft's listing back into its own words", () => {
    const listing = JSON.stringify({
      nftables: [
        { metainfo: {} },
        { map: { elem: [[{ concat: ["127.0.0.1", 6, 17] }, { concat: ["10.1.0.2", 80] }]] } },
      ],
    });
    const actual = parseMapElements(listing);
    expect(actual).toEqual([{ key: "127.0.0.1 . tcp . 17", value: "10.1.0.2 . 80" }]);
    const moved = { key: "127.0.0.1 . tcp . 17", value: "10.1.0.3 . 80" };
    expect(compareElements(actual, actual)).toEqual({ stale: [], missing: [] });
    expect(compareElements(actual, [moved])).toEqual({ stale: actual, missing: [moved] });
    expect(parseMapElements('{"nftables":[{"metainfo":{}},{"map":{"name":"dnat4"}}]}')).toEqual([]);
  });
});

describe("bridge", () => {
  it("turns forwarding on only when something is to be forwarded", () => {
    const keys = (of: NetworkRecord): readonly string[] =>
      bridgeUp(of).flatMap((op) => (op.op === "sysctl" ? [op.key] : []));
    expect(keys(app)).toContain("net/ipv4/ip_forward");
    expect(keys(inside)).not.toContain("net/ipv4/ip_forward");
    expect(keys(app)).not.toContain("net/ipv6/conf/all/forwarding");
    expect(bridgeUp(app)[0]).toEqual({ op: "bridge-create", name: "brt-app", mtu: 1400, addresses: ["10.1.0.1/24"] });
  });

  it.each([
    [{ "com.docker.network.bridge.enable_icc": "maybe" }, /ParseBool: parsing "maybe"/],
    [{ "com.docker.network.driver.mtu": "x" }, /Atoi: parsing "x"/],
    [{ "com.docker.network.driver.mtu": "67" }, /68 to 65535/],
    [{ "com.docker.network.bridge.name": "averyveryverylongname" }, /1 to 15/],
    [{ "com.docker.network.bridge.trusted_host_interfaces": "eth0" }, /not supported/],
    [{ "com.docker.network.bridge.gateway_mode_ipv4": "routed" }, /only the mode nat/],
  ])("refuses the option %j", (options, message) => {
    expect(() => parseBridgeOptions(options)).toThrow(message);
  });

  it("keeps foreign options for inspect", () => {
    expect(parseBridgeOptions({ "org.example.note": "x" }).icc).toBe(true);
  });
});

describe("sandbox", () => {
  it("gives the default route to the highest priority, then the first, never to an internal network", () => {
    const [a, b, c] = [
      attachment(inside, "10.2.0.2/24", 9),
      attachment(app, "10.1.0.2/24"),
      attachment(standard, "10.3.0.2/24"),
    ];
    expect(defaultGateway([a, b, c])).toBe(b);
    expect(defaultGateway([a, b, attachment(standard, "10.3.0.2/24", 1)])?.network).toBe(standard);
    expect(defaultGateway([a])).toBeUndefined();
    const wanted = [inside, app, standard].map((of) => ({ network: of, priority: of === standard ? 5 : 0 }));
    expect(interfaceOrder(wanted).map(({ network: of }) => of.spec.name)).toEqual(["bridge", "app", "inside"]);
    const named = [network("web", "10.6.0.0/24"), network("app", "10.7.0.0/24")];
    const equals = named.map((on) => ({ network: on, priority: 0 }));
    expect(interfaceOrder(equals).map(({ network: of }) => of.spec.name)).toEqual(["app", "web"]);
    const attachments = named.map((on, i) => attachment(on, `10.${6 + i}.0.2/24`, 0, i));
    expect(defaultGateway(attachments)?.network.spec.name).toBe("app");
  });

  it("is one batch: namespace, pair, addresses and route", () => {
    const ops = sandboxUp("/run/x", [attachment(app, "10.1.0.2/24"), attachment(inside, "10.2.0.2/24", 0, 1)], {
      hairpin: false,
      sysctls: { "net.core.somaxconn": "99", "kernel.shmmax": "1" },
    });
    expect(ops[0]).toEqual({ op: "netns-create", path: "/run/x" });
    const configured = ops.filter((op) => op.op === "link-configure");
    expect(configured.map(({ name, routes }) => [name, routes.map(({ destination }) => destination)])).toEqual([
      ["eth0", ["0.0.0.0/0"]],
      ["eth1", []],
    ]);
    expect(ops.at(-1)).toMatchObject({ op: "sysctl", key: "net.core.somaxconn", netns: "/run/x" });
    expect(JSON.stringify(ops)).not.toContain("shmmax");
  });

  it("gives an interface its link-local addresses, and IPv6 for one of that family", () => {
    const plain = attachment(app, "10.1.0.2/24");
    const with4 = {
      ...plain,
      endpoint: { ...plain.endpoint, spec: { aliases: [], linkLocalAddresses: ["169.254.8.8"] } },
    };
    const with6 = { ...plain, endpoint: { ...plain.endpoint, spec: { aliases: [], linkLocalAddresses: ["fe80::8"] } } };
    const opsOf = (at: Attachment) => attachmentUp("/run/x", at, { hairpin: false, gateway: false });
    const addresses = (at: Attachment) => opsOf(at).flatMap((op) => (op.op === "link-configure" ? op.addresses : []));
    expect(addresses(with4)).toEqual(["10.1.0.2/24", "169.254.8.8/16"]);
    expect(addresses(with6)).toEqual(["10.1.0.2/24", "fe80::8/64"]);
    const turnedOff = (at: Attachment) => JSON.stringify(opsOf(at)).includes("disable_ipv6");
    expect([turnedOff(with4), turnedOff(with6)]).toEqual([true, false]);
  });

  it("makes the MAC from the address", () => {
    expect(macFor("172.17.0.2/16")).toBe("02:42:ac:11:00:02");
  });
});

describe("resolver", () => {
  const plan = (attachments: readonly Attachment[], dns: readonly string[] = []) =>
    planResolver({
      instanceId: "i1",
      instanceName: "web",
      netns: "/run/netns/i1",
      attachments,
      dns,
      hostServers: ["192.0.2.53"],
      paths: new NetworkPaths("/run/b"),
    });
  const upstreamOf = (result: ReturnType<typeof plan>) =>
    result.kind === "own" ? result.server.upstream : result.kind;

  it("is the network's own where one network is all there is", () => {
    expect(plan([attachment(standard, "10.3.0.2/24")]).kind).toBe("direct");
    expect(plan([attachment(app, "10.1.0.2/24")])).toEqual({ kind: "network", network: app });
    expect(plan([attachment(inside, "10.2.0.2/24")], ["9.9.9.9"])).toEqual({ kind: "network", network: inside });
  });

  it("is the instance's own over several networks or with its own servers", () => {
    const [a, b, c] = [
      attachment(app, "10.1.0.2/24"),
      attachment(inside, "10.2.0.2/24"),
      attachment(standard, "10.3.0.2/24"),
    ];
    expect(upstreamOf(plan([a, b]))).toEqual({ kind: "servers", servers: ["10.1.0.1"] });
    expect(upstreamOf(plan([a], ["9.9.9.9"]))).toEqual({ kind: "servers", servers: ["9.9.9.9"] });
    expect(upstreamOf(plan([b, c]))).toEqual({ kind: "servers", servers: ["192.0.2.53"] });
    expect(
      upstreamOf(plan([b, attachment(network("deep", "10.5.0.0/24", { internal: true }), "10.5.0.2/24")])),
    ).toEqual({
      kind: "none",
    });
  });

  it("is the instance's own where it has links, which nobody else on the network may ask for", () => {
    const linking = (on: NetworkRecord, address: string): Attachment => {
      const plain = attachment(on, address);
      return { ...plain, endpoint: { ...plain.endpoint, spec: { aliases: [], links: ["db:store"] } } };
    };
    const own = plan([linking(app, "10.1.0.2/24")]);
    if (own.kind !== "own") throw new Error("not its own");
    expect(own.server.hostsDirectories).toEqual([`/run/b/networks/${app.id}/hosts`, "/run/b/sandboxes/i1/links"]);
    expect(plan([linking(standard, "10.3.0.2/24")]).kind).toBe("direct");
    expect(linkNames([{ address: "10.1.0.3", names: ["store", "no name", "db"] }])).toBe("10.1.0.3 store db\n");
  });

  it("is configured to stay on its address and keep container names to itself", () => {
    const server = plan([attachment(app, "10.1.0.2/24")], ["9.9.9.9"]);
    if (server.kind !== "own") throw new Error("not its own");
    const lines = dnsmasqConfig(server.server, "nobody").split("\n");
    for (const line of [
      "listen-address=127.0.0.11",
      "bind-interfaces",
      "hostsdir=/run/b/networks/appappap00000000000000000000000000000000000000000000000000000000/hosts",
      "no-resolv",
      "server=9.9.9.9",
      "domain-needed",
      "local=/0.1.10.in-addr.arpa/",
      "user=nobody",
    ]) {
      expect(lines).toContain(line);
    }
  });

  it("answers the full name first, and leaves out what no DNS name can be", () => {
    const { network: on, endpoint } = attachment(app, "10.1.0.2/24");
    expect(endpointNames(on, { ...endpoint, dnsNames: ["web", "bad name", "www"] })).toBe("10.1.0.2 web.app web www\n");
    const names = dnsNamesOf({
      instanceName: "web",
      instanceId: "0123456789abcdef",
      hostname: "web",
      aliases: ["www", "web"],
    });
    expect(names).toEqual(["web", "www", "0123456789ab"]);
  });
});

describe("resolv.conf", () => {
  const host: HostResolvConf = {
    direct: { nameservers: ["127.0.0.53"], search: ["example.org"], options: ["edns0"] },
    reachable: { nameservers: ["192.0.2.53"], search: ["example.org"], options: ["edns0"] },
  };
  const none = { dns: [], dnsSearch: [], dnsOptions: [] };

  it("reads comments, the last search line and options", () => {
    expect(
      parseResolvConf(
        "# x\nnameserver 1.1.1.1 # first\nsearch a b\ndomain c\noptions ndots:2\noptions rotate\n;nameserver 2.2.2.2\n",
      ),
    ).toEqual({ nameservers: ["1.1.1.1"], search: ["c"], options: ["ndots:2", "rotate"] });
  });

  it("takes from the host what the user leaves open", () => {
    expect(renderResolvConf(bridgeResolvConf(host, none))).toContain(
      "nameserver 192.0.2.53\nsearch example.org\noptions edns0\n",
    );
    const own = { dns: ["9.9.9.9"], dnsSearch: ["."], dnsOptions: ["timeout:1"] };
    expect(renderResolvConf(bridgeResolvConf(host, own))).toMatch(/\nnameserver 9.9.9.9\noptions timeout:1\n$/);
    expect(networkResolvConf(host, none, ["10.1.0.1"]).options).toEqual(["edns0", "ndots:0"]);
    expect(networkResolvConf(host, { ...none, dnsOptions: ["ndots:3"] }, ["10.1.0.1"]).options).toEqual(["ndots:3"]);
  });
});

describe("hosts", () => {
  it("has the own names on every address", () => {
    const text = renderHosts({ hostname: "web", domainname: "example.org", own: ["10.1.0.2"], extra: [] });
    expect(text).toMatch(/^127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n/);
    expect(text).toMatch(/\n10.1.0.2\tweb.example.org web\n$/);
  });

  it("takes extra hosts with either sign, IPv6 and host-gateway, and names a bad one", () => {
    expect(parseExtraHosts(["a:10.0.0.1", "b=::1", "c:fe80::1", "d:[fe80::2]", "e:host-gateway"], "10.3.0.1")).toEqual([
      { address: "10.0.0.1", names: ["a"] },
      { address: "::1", names: ["b"] },
      { address: "fe80::1", names: ["c"] },
      { address: "fe80::2", names: ["d"] },
      { address: "10.3.0.1", names: ["e"] },
    ]);
    expect(() => parseExtraHosts(["a:nowhere"], "")).toThrow('invalid IP address in add-host: "a:nowhere"');
  });
});

describe("the host's routes", () => {
  it("are read from the kernel's tables without the default ones", () => {
    const v4 = `Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\nen0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\nbr1\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n`;
    expect(parseIpv4Routes(v4).map((route) => [formatCidr(route), route.device])).toEqual([["172.17.0.0/16", "br1"]]);
    const v6 = [
      `fd000000000000000000000000000000 40 ${"0".repeat(32)} 00 ${"0".repeat(32)} 00000100 00000001 00000000 00000001     en0`,
      `fe800000000000000000000000000000 40 ${"0".repeat(32)} 00 ${"0".repeat(32)} 00000100 00000001 00000000 00000001     en0`,
      `${"0".repeat(32)} 00 ${"0".repeat(32)} 00 ${"0".repeat(32)} ffffffff 00000001 00000000 00200200       lo`,
    ].join("\n");
    expect(parseIpv6Routes(v6).map((route) => formatCidr(route))).toEqual(["fd00::/64"]);
  });
});

describe("rules beside another firewall", () => {
  const listing = [
    "-P FORWARD DROP",
    "-N DOCKER-USER",
    "-A DOCKER-USER -i brt-old -m comment --comment berth-abc123 -j ACCEPT",
    "-A DOCKER-USER -i brt-other -m comment --comment berth-fff000 -j ACCEPT",
    "-A DOCKER-USER -j RETURN",
  ].join("\n");

  it("are the differences only, ours alone, before a final RETURN", () => {
    expect(planForwardRules(parseForwardRules(listing, "abc123"), ["brt-new"], "abc123")).toEqual([
      "-I DOCKER-USER 3 -i brt-new -m comment --comment berth-abc123 -j ACCEPT".split(" "),
      "-I DOCKER-USER 4 -o brt-new -m comment --comment berth-abc123 -j ACCEPT".split(" "),
      "-D DOCKER-USER -i brt-old -m comment --comment berth-abc123 -j ACCEPT".split(" "),
    ]);
  });

  it("leave what comes in to a firewall that somebody set up, with Docker beside it or not", () => {
    const answers = "-o brt-new -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment berth-abc123 -j ACCEPT";
    const plan = (text: string) =>
      planForwardRules(parseForwardRules(text, "abc123"), ["brt-new"], "abc123").map((args) => args.join(" "));
    const docker = [
      "-P FORWARD DROP",
      "-N DOCKER-USER",
      "-A FORWARD -j DOCKER-USER",
      "-A FORWARD -o docker0 -j DOCKER",
    ];
    const icc = "-A FORWARD -i docker0 -o docker0 -j DROP";
    const open = "-A DOCKER-USER -o brt-new -m comment --comment berth-abc123 -j ACCEPT";
    expect(plan([...docker, icc, "-A FORWARD -j LIBVIRT_FWI"].join("\n"))).toContain(open);
    expect(plan([...docker, "-A FORWARD -j ufw-before-forward"].join("\n"))).toContain(`-A DOCKER-USER ${answers}`);
    expect(plan([...docker, "-A FORWARD -d 192.0.2.1/32 -j DROP"].join("\n"))).toContain(`-A DOCKER-USER ${answers}`);
    expect(plan("-P FORWARD DROP\n-A FORWARD -j ufw-before-forward\n")).toEqual([
      "-I FORWARD 1 -i brt-new -m comment --comment berth-abc123 -j ACCEPT",
      `-I FORWARD 2 ${answers}`,
    ]);
  });

  it("are none where the firewall forwards", () => {
    const open = parseForwardRules("-P FORWARD ACCEPT\n-N DOCKER-USER\n", "abc123");
    expect(planForwardRules(open, ["brt-new"], "abc123")).toEqual([]);
  });
});

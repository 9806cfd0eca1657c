/**
 * Published ports behind a firewall of the host, packet by packet: a namespace plays the host, with our table and our rules in it,
 * one its neighbour and one a container. The real host's firewall is not for tests to change.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { silentLogger } from "../../../src/base/logger.ts";
import type { Host } from "../../../src/host/host.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";
import { syncForwardRules } from "../../../src/network/docker-user.ts";
import { firewallScript } from "../../../src/network/firewall.ts";
import type { NetworkRecord } from "../../../src/schema/network.ts";
import { ctx } from "./engine-fixture.ts";

const run = promisify(execFile);
const tag = "abc123";
const bridge = "brt-wall";
const network: NetworkRecord = {
  id: "a".repeat(64),
  spec: {
    name: "wall",
    driver: "bridge",
    internal: false,
    attachable: false,
    enableIPv6: false,
    ipam: [{ subnet: "10.201.1.0/24", gateway: "10.201.1.1" }],
    options: {},
    labels: {},
  },
  createdAt: "2026-01-01T00:00:00.000Z",
  bridge,
  mtu: 1500,
  builtin: false,
};

describe("published ports and the host's firewall", () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-wall-"));
  const path = { host: join(directory, "host"), neighbour: join(directory, "out"), container: join(directory, "in") };
  type Place = keyof typeof path;
  const servers: ChildProcess[] = [];
  let machine: Host;
  let inside: Host;

  const at = async (place: Place, ...argv: readonly string[]): Promise<string> =>
    (await run("nsenter", [`--net=${path[place]}`, ...argv])).stdout;
  const fetch = (from: Place, url: string): Promise<string> =>
    at(from, "curl", "-s", "--max-time", "1", url).catch(() => "");
  const published = () => fetch("neighbour", "http://10.201.2.1:8080/");
  const iptables = (line: string) => at("host", "iptables", "-w", ...line.split(" "));
  const sync = (...bridges: readonly string[]) => syncForwardRules(ctx, inside, tag, { ipv4: bridges, ipv6: [] });

  beforeAll(async () => {
    machine = await createLinuxHost({ log: silentLogger });
    await machine.kernel.apply(
      ctx,
      Object.values(path).map((each) => ({ op: "netns-create", path: each })),
    );
    const { processes } = machine;
    inside = {
      ...machine,
      processes: {
        ...processes,
        which: (program) => processes.which(program),
        run: (ctx, request) =>
          processes.run(ctx, { ...request, argv: ["nsenter", `--net=${path.host}`, ...request.argv] }),
      },
    };
    await at("host", "sysctl", "-qw", "net.ipv4.ip_forward=1");
    await at("host", "ip", "link", "add", bridge, "type", "bridge");
    await cable("neighbour", "out", "10.201.2");
    await cable("container", "in", "10.201.1");
    await at("host", "ip", "address", "add", "10.201.2.1/24", "dev", "out");
    await at("host", "ip", "address", "add", "10.201.1.1/24", "dev", bridge);
    await at("host", "ip", "link", "set", "in", "master", bridge);
    for (const name of [bridge, "in", "out"]) await at("host", "ip", "link", "set", name, "up");
    await at("host", "nft", firewallScript(tag, [network]));
    await at("host", "nft", `add element inet berth_${tag} dnat4_any { tcp . 8080 : 10.201.1.2 . 80 }`);
    await serve("container", 80, "page");
    await serve("neighbour", 90, "world");
  });
  afterAll(async () => {
    for (const server of servers) server.kill("SIGKILL");
    await machine.kernel.apply(
      ctx,
      Object.values(path).map((each) => ({ op: "netns-remove", path: each })),
    );
    await machine.close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function cable(to: Place, name: string, subnet: string): Promise<void> {
    await at("host", "ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", path[to]);
    await at(to, "ip", "address", "add", `${subnet}.2/24`, "dev", "eth0");
    await at(to, "ip", "link", "set", "eth0", "up");
    await at(to, "ip", "route", "add", "default", "via", `${subnet}.1`);
  }

  async function serve(place: Place, port: number, body: string): Promise<void> {
    const script = `require("http").createServer((q, s) => s.end("${body}")).listen(${port}, () => console.log("up"))`;
    const server = spawn("nsenter", [`--net=${path[place]}`, process.execPath, "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    servers.push(server);
    await once(server.stdout, "data");
  }

  it("are reached where the host forwards", async () => {
    expect(await published()).toBe("page");
  });

  it("are ufw's to open, and containers reach the world meanwhile", async () => {
    await iptables("-P FORWARD DROP");
    await iptables("-N ufw-user-forward");
    await iptables("-A FORWARD -j ufw-user-forward");
    await sync(bridge);
    expect(await published()).toBe("");
    expect(await fetch("container", "http://10.201.2.2:90/")).toBe("world");
    expect(await fetch("host", "http://10.201.2.1:8080/")).toBe("page");

    // `ufw route allow proto tcp from any to any port 80`
    await iptables("-A ufw-user-forward -p tcp --dport 80 -j ACCEPT");
    expect(await published()).toBe("page");
    await iptables("-F ufw-user-forward");
    expect(await published()).toBe("");
    await iptables("-A ufw-user-forward -p tcp -m conntrack --ctorigdstport 8080 -j ACCEPT");
    expect(await published()).toBe("page");
    await sync();
    await iptables("-F");
    await iptables("-X");
    await iptables("-P FORWARD ACCEPT");
  });

  it("are reached beside Docker, which drops what is not its own", async () => {
    await iptables("-P FORWARD DROP");
    await iptables("-N DOCKER-USER");
    await iptables("-A FORWARD -j DOCKER-USER");
    expect(await published()).toBe("");
    await sync(bridge);
    expect(await published()).toBe("page");
    // `DOCKER-USER` is where administrators of such hosts have their rules.
    await iptables("-I DOCKER-USER 1 -s 10.201.2.2 -j DROP");
    expect(await published()).toBe("");
    await sync();
    await iptables("-F");
    await iptables("-X");
    await iptables("-P FORWARD ACCEPT");
  });

  it("are closed by a rule of nftables, by the host's port or the container's, and by a policy", async () => {
    const chain = async (policy: string, ...rules: readonly string[]) => {
      await at("host", "nft", "add table inet wall; delete table inet wall; add table inet wall");
      await at("host", "nft", `add chain inet wall guard { type filter hook forward priority 0; policy ${policy}; }`);
      for (const rule of rules) await at("host", "nft", `add rule inet wall guard ${rule}`);
    };
    await chain("accept", "tcp dport 80 ct original proto-dst 8080 drop");
    expect(await published()).toBe("");
    await chain("accept", "tcp dport 80 drop");
    expect(await published()).toBe("");
    await chain("drop", "ct state established,related accept");
    expect(await published()).toBe("");
    await chain("drop", "ct state established,related accept", "tcp dport 80 ct original proto-dst 8080 accept");
    expect(await published()).toBe("page");
    await at("host", "nft", "delete table inet wall");
  });
});

import { createSocket } from "node:dgram";
import { networkInterfaces } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ctx, endpoint, get, port, TestEngine } from "./engine-fixture.ts";

const hostAddress =
  Object.entries(networkInterfaces())
    .filter(([name]) => !/^(lo|br|veth|docker|peersdk)/.test(name))
    .flatMap(([, addresses]) => addresses ?? [])
    .find((address) => address.family === "IPv4")?.address ?? "127.0.0.1";

describe("reachability", () => {
  let engine: TestEngine;
  beforeAll(async () => {
    engine = await TestEngine.start();
  });
  afterAll(async () => engine[Symbol.asyncDispose]());

  it("serves a published port on the host, on localhost, to others, and to itself", async () => {
    const web = await engine.container("web", { ports: [port(80, 28080)] });
    const other = await engine.container("other");
    await web.serve(80, "page");

    expect(web.sandbox.ports).toEqual([{ containerPort: 80, hostPort: 28080, hostIp: "0.0.0.0", protocol: "tcp" }]);
    expect(await get(`http://${web.ip}/`)).toBe("page");
    expect(await get(`http://${hostAddress}:28080/`)).toBe("page");
    expect(await get("http://127.0.0.1:28080/")).toBe("page");
    expect(await get("http://127.0.0.5:28080/")).toBe("page");
    expect(await other.get(`http://${web.ip}/`)).toBe("page");
    expect(await other.get(`http://${hostAddress}:28080/`)).toBe("page");
    expect(await web.get(`http://${hostAddress}:28080/`)).toBe("page");
    const gateway = web.sandbox.endpoints[0]?.gateway ?? "";
    expect(await web.get(`http://${gateway}:28080/`)).toBe("page");
    expect(await other.get(`http://${gateway}:28080/`)).toBe("page");

    await engine.stop(web);
    expect(await get("http://127.0.0.1:28080/")).toBe("");
    await engine.stop(other);
  });

  it("publishes on given addresses only", async () => {
    const web = await engine.container("local", { ports: [port(80, 28081, { hostIp: "127.0.0.1" })] });
    const other = await engine.container("other");
    await web.serve(80, "local");
    expect(await get("http://127.0.0.1:28081/")).toBe("local");
    expect(await get(`http://${hostAddress}:28081/`)).toBe("");
    // Nor by a packet for 127.0.0.1 that a neighbour sends through the bridge.
    const gateway = web.sandbox.endpoints[0]?.gateway ?? "";
    await other.exec("sysctl", "-w", "net.ipv4.conf.all.route_localnet=1");
    await other.exec("ip", "address", "del", "127.0.0.1/8", "dev", "lo");
    await other.exec("ip", "route", "add", "127.0.0.1/32", "via", gateway);
    expect(await other.get("http://127.0.0.1:28081/")).toBe("");
    await engine.stop(web);
    await engine.stop(other);
  });

  it("publishes udp", async () => {
    const dns = await engine.container("udp", { ports: [port(53, 28053, { protocol: "udp" })] });
    await dns.serveUdp(53, "pong");
    expect(await askUdp("127.0.0.1", 28053)).toBe("pong");
    expect(await askUdp(hostAddress, 28053)).toBe("pong");
    await engine.stop(dns);
  });

  it("leads a udp peer that never pauses to whoever has the port now", async () => {
    const publish = { ports: [port(53, 28054, { protocol: "udp" })] };
    for (const address of ["127.0.0.1", hostAddress]) {
      using peer = udpPeer(address, 28054);
      await delay(200);
      const first = await engine.container("first", publish);
      await first.serveUdp(53, "first");
      await peer.hears("first");
      await engine.stop(first);
      const second = await engine.container("second", publish);
      await second.serveUdp(53, "second");
      await peer.hears("second");
      await engine.stop(second);
    }
  });

  it("keeps networks apart, but lets a published port be reached from another one", async () => {
    await engine.create("left");
    await engine.create("right");
    const a = await engine.container("a", { on: "left", ports: [port(80, 28082)] });
    const b = await engine.container("b", { on: "right" });
    await a.serve(80, "left's");
    await a.serve(81, "unpublished");
    expect(await b.get(`http://${a.ip}:81/`)).toBe("");
    expect(await b.get(`http://${a.ip}/`)).toBe("");
    expect(await b.get(`http://${hostAddress}:28082/`)).toBe("left's");
    expect(await get(`http://${a.ip}:81/`)).toBe("unpublished");
    await engine.stop(a);
    await engine.stop(b);
    await engine.networks.remove(ctx, "left");
  });

  it("gives an internal network no way out and no way in", async () => {
    await engine.create("inside", { internal: true });
    const a = await engine.container("a", { on: "inside", ports: [port(80, 28083)] });
    const b = await engine.container("b", { on: "inside" });
    const outside = await engine.container("outside", { ports: [port(80, 28084)] });
    await a.serve(80, "inside");
    await outside.serve(80, "outside");
    expect(a.sandbox.ports).toEqual([]);
    expect(await a.exec("ip", "route", "show", "default")).toBe("");
    expect(await b.get(`http://${a.ip}/`)).toBe("inside");
    expect(await b.get("http://a/")).toBe("inside");
    expect(await outside.get(`http://${a.ip}/`)).toBe("");
    // With a route of its own making, too.
    const bridge = engine.networks.resolve("inside").spec.ipam[0]?.gateway ?? "";
    await b.exec("ip", "route", "add", "default", "via", bridge);
    expect(await b.get(`http://${outside.ip}/`)).toBe("");
    expect(await b.get(`http://${hostAddress}:28084/`)).toBe("");
    for (const container of [a, b, outside]) await engine.stop(container);
  });

  it("separates the containers of a network without inter-container communication", async () => {
    await engine.create("apart", { options: { "com.docker.network.bridge.enable_icc": "false" } });
    const a = await engine.container("a", { on: "apart", ports: [port(80, 28085)] });
    const b = await engine.container("b", { on: "apart" });
    await a.serve(80, "a");
    expect(await b.get(`http://${a.ip}/`)).toBe("");
    expect(await b.get(`http://${hostAddress}:28085/`)).toBe("a");
    await engine.stop(a);
    await engine.stop(b);
  });

  it("hides containers behind the host on the way out", async () => {
    const web = await engine.container("client");
    expect(await web.exec("ip", "route", "get", "192.0.2.1")).toContain("via");
    expect(await web.exec("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start")).toBe("0");
    await engine.stop(web);
  });

  it("speaks IPv6 on a network that has it", async () => {
    await engine.create("six", { enableIPv6: true });
    const a = await engine.container("a6", { on: "six", ports: [port(80, 28086)] });
    const b = await engine.container("b6", { on: "six" });
    await a.serve(80, "six");
    const address = a.sandbox.endpoints[0]?.ipv6Cidr?.split("/")[0] ?? "";
    expect(address).toMatch(/^fd/);
    expect(await b.get(`http://[${address}]/`)).toBe("six");
    expect(await get(`http://[${address}]/`)).toBe("six");
    expect(await get("http://[::1]:28086/")).toBe("");
    expect(await b.exec("getent", "ahostsv6", "a6")).toContain(address);
    await engine.stop(a);
    await engine.stop(b);
  });

  it("connects and disconnects while running; the default route and the ports follow", async () => {
    await engine.create("one");
    await engine.create("two");
    const web = await engine.container("mover", { on: "one", ports: [port(80, 28087)] });
    const peer = await engine.container("peer", { on: "two" });
    await web.serve(80, "mover");
    await web.connect("two", { aliases: ["alias"] });
    expect(web.sandbox.endpoints.map(({ interfaceName }) => interfaceName)).toEqual(["eth0", "eth1"]);
    expect(await peer.get("http://mover/")).toBe("mover");
    expect(await peer.get("http://alias/")).toBe("mover");
    expect(await web.exec("getent", "hosts", "peer")).toContain(peer.ip);
    await web.disconnect("one");
    expect(await get("http://127.0.0.1:28087/")).toBe("mover");
    expect(await web.exec("ip", "route", "show", "default")).toContain("eth1");
    await web.disconnect("two");
    expect(await get("http://127.0.0.1:28087/")).toBe("");
    expect(await peer.get("http://mover/")).toBe("");
    await web.connect("one", endpoint());
    expect(await get("http://127.0.0.1:28087/")).toBe("mover");
    await engine.stop(web);
    await engine.stop(peer);
  });
});

async function askUdp(host: string, to: number): Promise<string> {
  const socket = createSocket("udp4");
  const { promise, resolve } = Promise.withResolvers<string>();
  socket.on("message", (message) => resolve(message.toString()));
  const timer = setTimeout(() => resolve(""), 2000);
  socket.send("ping", to, host);
  const answer = await promise;
  clearTimeout(timer);
  socket.close();
  return answer;
}

/** Sends a datagram every 20 ms from one and the same port. */
function udpPeer(host: string, to: number): Disposable & { hears(answer: string): Promise<void> } {
  const socket = createSocket("udp4");
  let last = "";
  socket.on("message", (message) => (last = message.toString()));
  const timer = setInterval(() => socket.send("ping", to, host), 20);
  return {
    hears: async (answer) => {
      for (let i = 0; i < 100 && last !== answer; i++) await delay(20);
      expect(last).toBe(answer);
    },
    [Symbol.dispose]: () => {
      clearInterval(timer);
      socket.close();
    },
  };
}

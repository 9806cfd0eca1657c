import { execFile, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { ctx, endpoint, get, port, sandboxRequest, TestEngine } from "./engine-fixture.ts";

const run = promisify(execFile);

describe("ports in dispute", () => {
  it("refuses what another container, another engine or a program of the host holds, and leaves nothing", async () => {
    const leases = mkdtempSync(join(tmpdir(), "berth-leases-"));
    const listener = createServer().listen(28190, "127.0.0.1");
    try {
      await using one = await TestEngine.start({ leases });
      await using two = await TestEngine.start({ leases });
      const web = await one.container("web", { ports: [port(80, 28180)] });
      await expect(one.container("again", { ports: [port(80, 28180, { hostIp: "127.0.0.1" })] })).rejects.toThrow(
        /driver failed programming external connectivity on endpoint again \([0-9a-f]{64}\): Bind for 127.0.0.1:28180 failed: port is already allocated/,
      );
      await expect(two.container("other", { ports: [port(80, 28180)] })).rejects.toMatchObject({ code: "PORT_IN_USE" });
      await expect(one.container("host", { ports: [port(80, 28181), port(80, 28190)] })).rejects.toThrow(
        /failed to bind host port for 0.0.0.0:28190:10.213.\d+.\d+:80\/tcp: address already in use/,
      );
      await expect(one.container("alien", { ports: [port(80, 28182, { hostIp: "192.0.2.99" })] })).rejects.toThrow(
        /192.0.2.99:28182.*cannot assign requested address/,
      );
      expect(readdirSync(leases)).toEqual(["tcp-28180"]);
      expect(readdirSync(join(one.runRoot, "netns"))).toEqual([web.sandbox.instanceId]);
      expect(readdirSync(join(one.runRoot, "sandboxes"))).toEqual([web.sandbox.instanceId]);
      // udp is another matter, and so is another address.
      await one.stop(await one.container("udp", { ports: [port(80, 28180, { protocol: "udp" })] }));
      await one.stop(web);
      const late = await two.container("late", { ports: [port(80, 28180)] });
      await late.serve(80, "two's");
      expect(await get("http://127.0.0.1:28180/")).toBe("two's");
    } finally {
      listener.close();
      rmSync(leases, { recursive: true, force: true });
    }
  });

  it("chooses from a range and from the kernel's own ports", async () => {
    await using engine = await TestEngine.start();
    const range = { hostPortEnd: 28193 };
    const first = await engine.container("first", { ports: [port(80, 28192, range), port(81, 0)] });
    const second = await engine.container("second", { ports: [port(80, 28192, range)] });
    expect([first, second].map(({ sandbox }) => sandbox.ports[0]?.hostPort)).toEqual([28192, 28193]);
    expect(first.sandbox.ports[1]?.hostPort).toBeGreaterThanOrEqual(32768);
    await expect(engine.container("third", { ports: [port(80, 28192, range)] })).rejects.toThrow(
      /all ports are allocated in 28192-28193/,
    );
  });

  it("refuses taken and foreign addresses", async () => {
    await using engine = await TestEngine.start();
    await engine.create("fixed", { ipam: [{ subnet: "10.214.7.0/24", ipRange: "10.214.7.128/25" }] });
    const at = (ipv4Address: string) => ({
      endpoints: { fixed: endpoint({ ipv4Address, macAddress: "02:00:00:00:00:77" }) },
    });
    const one = await engine.container("one", at("10.214.7.9"));
    expect(await one.exec("ip", "-o", "link", "show", "eth0")).toContain("02:00:00:00:00:77");
    await expect(engine.container("two", at("10.214.7.9"))).rejects.toThrow(/Address already in use/);
    await expect(engine.container("three", at("10.215.0.9"))).rejects.toThrow(
      /no configured subnet or ip-range contain the IP address 10.215.0.9/,
    );
    const free = await engine.container("free", { on: "fixed" });
    expect(free.ip).toBe("10.214.7.129");
    await expect(engine.networks.remove(ctx, "fixed")).rejects.toThrow(/has active endpoints \(name:"one"/);
  });
});

describe("engines", () => {
  it("run side by side on their own subnets, and one's end leaves the other's traffic alone", async () => {
    const leases = mkdtempSync(join(tmpdir(), "berth-leases-"));
    try {
      await using one = await TestEngine.start({ leases });
      const web = await one.container("web", { ports: [port(80, 28183)] });
      await web.serve(80, "one's");
      {
        await using two = await TestEngine.start({ leases });
        const client = await two.container("client");
        expect(client.ip.split(".").slice(0, 3)).not.toEqual(web.ip.split(".").slice(0, 3));
        expect(await client.get(`http://${web.ip}/`)).toBe("");
        expect(await client.get(`http://${client.sandbox.endpoints[0]?.gateway}:28183/`)).toBe("one's");
        await two.stop(client);
      }
      expect(await get("http://127.0.0.1:28183/")).toBe("one's");
    } finally {
      rmSync(leases, { recursive: true, force: true });
    }
  });

  it("move a chosen subnet that the host has taken while the bridge was down", async () => {
    await using engine = await TestEngine.start();
    const first = await engine.container("first");
    const subnet = engine.networks.resolve("bridge").spec.ipam[0]?.subnet ?? "";
    await engine.stop(first);
    await engine.networks.idleTearDown(ctx);
    expect(await engine.leftovers()).toEqual([]);
    await run("ip", ["link", "add", "berthtest0", "type", "bridge"]);
    try {
      await run("ip", ["link", "set", "berthtest0", "up"]);
      await run("ip", ["route", "add", subnet, "dev", "berthtest0"]);
      const second = await engine.container("second");
      const moved = engine.networks.resolve("bridge").spec.ipam[0]?.subnet;
      expect(moved).not.toBe(subnet);
      expect(second.ip.split(".").slice(0, 3).join(".")).toBe(moved?.split(".").slice(0, 3).join("."));
    } finally {
      await run("ip", ["link", "del", "berthtest0"]);
    }
  });

  it("come back under running containers without a lost request, and mend what has changed", async () => {
    await using engine = await TestEngine.start();
    await engine.create("app");
    const web = await engine.container("web", { on: "app", ports: [port(80, 28184)] });
    const client = await engine.container("client", { endpoints: { app: endpoint(), bridge: endpoint() } });
    const gone = await engine.container("gone", { on: "app", ports: [port(80, 28185)] });
    await web.serve(80, "alive");

    const traffic = spawn("sh", [
      "-c",
      "n=0; while [ $n -lt 60 ]; do curl -sf --max-time 1 http://127.0.0.1:28184/ >/dev/null || echo lost; n=$((n+1)); done; echo end",
    ]);
    let output = "";
    traffic.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const ended = new Promise((resolve) => traffic.once("close", resolve));

    const table = `berth_${engine.tag}`;
    await run("nft", ["add", "element", "inet", table, "dnat4_any", "{ tcp . 28186 : 10.213.0.99 . 80 }"]);
    await run("nft", ["delete", "element", "inet", table, "dnat4_any", "{ tcp . 28185 }"]);
    await engine.restart();
    expect(execFileSync("nft", ["list", "map", "inet", table, "dnat4_any"], { encoding: "utf8" })).toMatch(
      /tcp \. 28184 : 10[^}]*28185/,
    );
    expect(execFileSync("nft", ["list", "map", "inet", table, "dnat4_any"], { encoding: "utf8" })).not.toContain(
      "28186",
    );
    await ended;
    expect(output).toBe("end\n");

    // The successor knows what is taken, and answers names.
    await expect(engine.container("rival", { on: "app", ports: [port(80, 28184)] })).rejects.toMatchObject({
      code: "PORT_IN_USE",
    });
    const fresh = await engine.container("fresh", { on: "app" });
    expect([web.ip, client.ip, gone.ip]).not.toContain(fresh.ip);
    expect(await fresh.get("http://web/")).toBe("alive");
    expect(await client.get("http://web/")).toBe("alive");
    await engine.stop(gone);
    expect(await get("http://127.0.0.1:28185/")).toBe("");
  });

  it("mend a deleted bridge and flushed rules, for those that run as well", async () => {
    await using engine = await TestEngine.start();
    const web = await engine.container("web", { ports: [port(80, 28189)] });
    await web.serve(80, "alive");
    await run("nft", ["delete", "table", "inet", `berth_${engine.tag}`]);
    await run("ip", ["link", "del", `brt${engine.tag}`]);
    expect(await get("http://127.0.0.1:28189/")).toBe("");
    const client = await engine.container("client");
    expect(await get("http://127.0.0.1:28189/")).toBe("alive");
    expect(await client.get(`http://${web.ip}/`)).toBe("alive");
    await run("ip", ["link", "del", `brt${engine.tag}`]);
    await engine.restart();
    expect(await get("http://127.0.0.1:28189/")).toBe("alive");
  });

  it("take away what a killed predecessor left, instances that died with it included", async () => {
    await using engine = await TestEngine.start();
    await engine.create("app");
    await engine.container("dead", { on: "app", ports: [port(80, 28187)] });
    const dead = engine.networks.endpointsOf(engine.networks.resolve("app").id)[0]?.instanceId ?? "";
    engine.forgetContainers();
    await engine.restart();
    expect(engine.networks.sandbox(dead)).toBeUndefined();
    expect(
      engine.networks
        .list()
        .map(({ spec }) => spec.name)
        .sort(),
    ).toEqual(["app", "bridge", "host", "none"]);
    expect((await engine.leftovers()).filter((left) => !left.startsWith("vb"))).toEqual([]);
    // And the network is up again with its next container.
    const web = await engine.container("web", { on: "app" });
    await web.serve(80, "again");
    expect(await get(`http://${web.ip}/`)).toBe("again");
  });

  it("leave a bridge that they found", async () => {
    await run("ip", ["link", "add", "berthtest1", "type", "bridge"]);
    try {
      const engine = await TestEngine.start({ config: { bridge: "berthtest1", bip: "10.219.3.1/24" } });
      const web = await engine.container("web");
      expect(web.ip).toBe("10.219.3.2");
      await engine.stop(web);
      await engine.networks.removeAll(ctx);
      expect(existsSync("/sys/class/net/berthtest1")).toBe(true);
      await engine[Symbol.asyncDispose]();
    } finally {
      await run("ip", ["link", "del", "berthtest1"]);
    }
  });

  it("undo a set-up that fails on the way", async () => {
    await using engine = await TestEngine.start();
    const request = sandboxRequest("broken", {
      endpoints: { bridge: endpoint() },
      ports: [port(80, 28188)],
      sysctls: { "net.ipv4.no_such_key": "1" },
    });
    await expect(engine.networks.setUp(ctx, request)).rejects.toThrow(/no_such_key/);
    expect(engine.networks.sandbox(request.instanceId)).toBeUndefined();
    expect(existsSync(join(engine.runRoot, "netns", request.instanceId))).toBe(false);
    expect(existsSync(join(engine.runRoot, "sandboxes", request.instanceId))).toBe(false);
    const fine = await engine.container("fine", {
      ports: [port(80, 28188)],
      sysctls: { "net.ipv4.ip_default_ttl": "33" },
    });
    expect(await fine.exec("cat", "/proc/sys/net/ipv4/ip_default_ttl")).toBe("33");
    expect(readFileSync(fine.sandbox.hostsPath, "utf8")).toContain(fine.ip);
  });
});

/** Leases as a machine asks for them: busybox' udhcpc, in a namespace that plays one. */
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ctx, endpoint, TestEngine, type TestContainer } from "./engine-fixture.ts";

describe("leases", () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-dhcp-"));
  const script = join(directory, "lease");
  let engine: TestEngine;

  beforeAll(async () => {
    writeFileSync(script, '#!/bin/sh\n[ "$1" = bound ] && env\nexit 0\n');
    chmodSync(script, 0o755);
    engine = await TestEngine.start();
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  /** What the server answered; undefined when nobody did. */
  async function ask(machine: TestContainer, card = "eth0", tries = 5): Promise<Record<string, string> | undefined> {
    const words = [
      "-i",
      card,
      "-f",
      "-q",
      "-n",
      "-t",
      String(tries),
      "-T",
      "1",
      "-O",
      "mtu",
      "-O",
      "search",
      "-s",
      script,
    ];
    const output = await machine.exec("sh", "-c", `busybox udhcpc ${words.join(" ")} 2>/dev/null || true`);
    const lines = output.split("\n").filter((line) => line.includes("="));
    if (lines.length === 0) return undefined;
    return Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    );
  }

  it("gives a machine the address that the engine chose for it, and what goes with it", async () => {
    await engine.create("app", { options: { "com.docker.network.driver.mtu": "1400" } });
    const machine = await engine.container("web", {
      on: "app",
      dhcp: true,
      hostname: "web-host",
      dnsSearch: ["corp.example"],
    });
    const gateway = engine.networks.resolve("app").spec.ipam[0]?.gateway;
    expect(await ask(machine)).toMatchObject({
      ip: machine.ip,
      mask: "24",
      router: gateway,
      dns: gateway,
      hostname: "web-host",
      mtu: "1400",
      search: "corp.example",
    });
  });

  it("answers nobody else: a container of the same network gets nothing", async () => {
    const container = await engine.container("plain", { on: "app" });
    expect(await ask(container, "eth0", 2)).toBeUndefined();
    await engine.stop(container);
  });

  it("knows of machines that come and go", async () => {
    const pid = engine.dhcpServer("app");
    const second = await engine.container("second", { on: "app", dhcp: true });
    expect(await ask(second)).toMatchObject({ ip: second.ip });
    expect(engine.dhcpServer("app")).toBe(pid);
    await engine.stop(second);
    // The next ones have its address, one of them with a card of its own.
    const third = await engine.container("third", {
      endpoints: { app: endpoint({ ipv4Address: second.ip }) },
      hostname: "third",
      dhcp: true,
    });
    expect(await ask(third)).toMatchObject({ ip: second.ip, hostname: "third" });
    await engine.stop(third);
    const other = await engine.container("other", {
      endpoints: { app: endpoint({ ipv4Address: second.ip, macAddress: "02:00:00:00:77:01" }) },
      hostname: "other",
      dhcp: true,
    });
    expect(await ask(other)).toMatchObject({ ip: second.ip, hostname: "other" });
    await engine.stop(other);
  });

  it("serves internal networks without a router, and the default bridge with the host's servers", async () => {
    await engine.create("inside", { internal: true });
    const inside = await engine.container("in", { on: "inside", dhcp: true });
    const lease = await ask(inside);
    expect(lease).toMatchObject({ ip: inside.ip, dns: engine.networks.resolve("inside").spec.ipam[0]?.gateway });
    expect(lease).not.toHaveProperty("router");
    await engine.stop(inside);

    const outside = await engine.container("out", { on: "bridge", dhcp: true, dns: ["192.0.2.53"] });
    expect(await ask(outside)).toMatchObject({ ip: outside.ip, router: expect.any(String), dns: "192.0.2.53" });
    await engine.stop(outside);
  });

  it("names one router to a machine on two networks, and takes along one that is connected later", async () => {
    await engine.create("front");
    await engine.create("back");
    const machine = await engine.container("two", { endpoints: { front: endpoint({ gwPriority: 1 }) }, dhcp: true });
    const { endpoints } = await engine.networks.connect(ctx, machine.sandbox.instanceId, "back", endpoint());
    const back = endpoints.find(({ networkName }) => networkName === "back");
    expect(await ask(machine, "eth0")).toHaveProperty("router");
    const lease = await ask(machine, "eth1");
    expect(lease).toMatchObject({ ip: back?.ipv4Cidr.split("/")[0] });
    expect(lease).not.toHaveProperty("router");
    await engine.networks.disconnect(ctx, machine.sandbox.instanceId, "front");
    expect(await ask(machine, "eth1")).toHaveProperty("router");
    await engine.stop(machine);
  });

  it("goes on when the engine is killed, and ends with the last machine", async () => {
    const machine = await engine.container("last", { on: "front", dhcp: true });
    const pid = engine.dhcpServer("front");
    await engine.restart();
    expect(engine.dhcpServer("front")).toBe(pid);
    expect(await ask(machine)).toMatchObject({ ip: machine.ip });
    await engine.stop(machine);
    expect(engine.dhcpServer("front")).toBeUndefined();
    const directory = join(engine.runRoot, "networks", engine.networks.resolve("front").id);
    expect(readdirSync(join(directory, "leases"))).toEqual([]);
    expect(readdirSync(join(directory, "lease-options"))).toEqual([]);
  });
});

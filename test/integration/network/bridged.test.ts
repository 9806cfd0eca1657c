/** Machines on a bridge of the host's, with a server of addresses "outside". The bridge and what is on it are this test's own. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bridgeSpec, ctx, endpoint, TestEngine } from "./engine-fixture.ts";

const tag = process.pid.toString(36);
const names = { bridge: `btb${tag}`, outside: `bto${tag}`, netns: `bt-outside-${tag}` };

describe("a bridged network", () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-bridged-"));
  const script = join(directory, "lease");
  const pidFile = join(directory, "dnsmasq.pid");
  let engine: TestEngine;
  const ip = (...words: string[]) => execFileSync("ip", words, { encoding: "utf8" });
  const spec = (more: object = {}) => ({
    ...bridgeSpec("lan"),
    driver: "bridged" as const,
    options: { parent: names.bridge },
    ...more,
  });

  beforeAll(async () => {
    writeFileSync(script, '#!/bin/sh\n[ "$1" = bound ] && echo "$ip $router"\nexit 0\n');
    chmodSync(script, 0o755);
    ip("link", "add", names.bridge, "type", "bridge");
    ip("link", "set", names.bridge, "up");
    ip("netns", "add", names.netns);
    ip("link", "add", names.outside, "type", "veth", "peer", "name", "eth0", "netns", names.netns);
    ip("link", "set", names.outside, "master", names.bridge, "up");
    ip("-n", names.netns, "link", "set", "lo", "up");
    ip("-n", names.netns, "addr", "add", "192.0.2.1/24", "dev", "eth0");
    ip("-n", names.netns, "link", "set", "eth0", "up");
    const server = [
      "--port=0",
      "--interface=eth0",
      "--bind-interfaces",
      "--dhcp-range=192.0.2.100,192.0.2.110,1h",
      "--leasefile-ro",
    ];
    ip(
      "netns",
      "exec",
      names.netns,
      "dnsmasq",
      "--conf-file=/dev/null",
      ...server,
      `--pid-file=${pidFile}`,
      "--user=root",
    );
    engine = await TestEngine.start();
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
    process.kill(Number(readFileSync(pidFile, "utf8")));
    ip("link", "del", names.bridge);
    ip("netns", "del", names.netns);
    rmSync(directory, { recursive: true });
  });

  it("gives a machine an address from outside, and takes its card off the bridge with it", async () => {
    const id = await engine.create("lan", spec());
    const machine = await engine.container("m", { on: "lan", dhcp: true });
    const [card] = machine.sandbox.endpoints;
    expect(card).toMatchObject({ ipv4Cidr: "", gateway: "", networkName: "lan" });
    expect(card?.macAddress).toMatch(/^02:/);
    expect(ip("link", "show", "master", names.bridge)).toContain(`${card?.hostInterface}@`);
    const words = ["-i", "eth0", "-f", "-q", "-n", "-t", "8", "-T", "1", "-s", script];
    const lease = await machine.exec("sh", "-c", `busybox udhcpc ${words.join(" ")} 2>/dev/null || true`);
    expect(lease).toMatch(/^192\.0\.2\.1\d\d 192\.0\.2\.1$/);
    await engine.restart();
    expect(await machine.exec("ip", "-br", "link", "show", "eth0")).toMatch(/UP/);
    await engine.stop(machine);
    await expect.poll(() => ip("link", "show", "master", names.bridge)).not.toContain(`${card?.hostInterface}@`);
    await engine.networks.remove(ctx, id);
    // The bridge is the host's.
    expect(ip("link", "show", names.bridge)).toContain("UP");
  });

  it("is beside a network of the engine's own, through which the default route goes", async () => {
    await engine.create("lan", spec());
    await engine.create("app");
    const machine = await engine.container("both", {
      endpoints: { app: endpoint(), lan: endpoint({ macAddress: "02:00:00:00:00:77" }) },
      dhcp: true,
    });
    const cards = machine.sandbox.endpoints.map(({ networkName, macAddress }) => `${networkName} ${macAddress}`);
    expect(cards).toContain("lan 02:00:00:00:00:77");
    expect(await machine.exec("ip", "-4", "route", "show", "default")).toContain("via 10.213.");
    await engine.networks.disconnect(ctx, machine.sandbox.instanceId, "lan");
    await engine.networks.connect(ctx, machine.sandbox.instanceId, "lan", endpoint());
    await engine.stop(machine);
  });

  it("is refused where it makes no sense", async () => {
    await expect(engine.container("c", { on: "lan" })).rejects.toMatchObject({ code: "BRIDGED_FOR_MACHINES" });
    const plain = await engine.container("plain", { on: "app" });
    const connecting = engine.networks.connect(ctx, plain.sandbox.instanceId, "lan", endpoint());
    await expect(connecting).rejects.toMatchObject({ code: "BRIDGED_FOR_MACHINES" });
    await engine.stop(plain);
    const fixed = engine.container("m", { endpoints: { lan: endpoint({ ipv4Address: "192.0.2.7" }) }, dhcp: true });
    await expect(fixed).rejects.toMatchObject({ code: "ADDRESS_INVALID" });

    const create = (more: object) => engine.create("bad", spec({ name: "bad", ...more }));
    const unusable = { code: "BRIDGED_PARENT_UNUSABLE", status: 400 };
    await expect(create({ options: { parent: "nosuch0" } })).rejects.toMatchObject(unusable);
    await expect(create({ options: { parent: names.outside } })).rejects.toMatchObject(unusable);
    await expect(create({ options: { parent: engine.networks.resolve("app").bridge } })).rejects.toMatchObject(
      unusable,
    );
    for (const more of [
      { internal: true },
      { ipam: [{ subnet: "192.0.2.0/24" }] },
      { options: { parent: names.bridge, x: "1" } },
    ]) {
      await expect(create(more)).rejects.toMatchObject({ code: "BRIDGED_OPTION_REFUSED" });
    }
    await expect(engine.create("lan", spec())).rejects.toMatchObject({ code: "NETWORK_EXISTS" });
  });
});

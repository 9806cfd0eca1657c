import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import type { Host } from "../../../src/host/host.ts";
import { openHost, testSuffix } from "./linux-host.ts";

const ctx = background();
const bridge = `brtn${testSuffix}`;
let host: Host;
let directory: string;
let netns: string;

beforeAll(async () => {
  host = await openHost();
  directory = mkdtempSync(join(tmpdir(), "berth-network-"));
  netns = join(directory, "netns");
  await host.kernel.apply(ctx, [
    { op: "bridge-create", name: bridge, mtu: 1400, addresses: ["10.213.96.1/24", "fd00:213:96::1/64"] },
    { op: "netns-create", path: netns },
    {
      op: "veth-create",
      name: `vbn${testSuffix}`,
      bridge,
      netns,
      peer: "eth0",
      mtu: 1400,
      mac: "02:42:0a:d5:60:02",
      hairpin: true,
    },
    {
      op: "link-configure",
      netns,
      name: "eth0",
      addresses: ["10.213.96.2/24", "fd00:213:96::2/64"],
      routes: [
        { destination: "0.0.0.0/0", gateway: "10.213.96.1" },
        { destination: "::/0", gateway: "fd00:213:96::1" },
      ],
    },
  ]);
});

afterAll(async () => {
  await host.kernel.apply(ctx, [
    { op: "netns-remove", path: netns },
    { op: "link-delete", name: bridge },
  ]);
  const left = (await host.kernel.links()).filter(({ name }) => name === bridge);
  await host.close();
  rmSync(directory, { recursive: true });
  expect(left).toEqual([]);
});

const inside = async (...argv: readonly [string, ...string[]]) => {
  const { code, stdout, stderr } = await host.processes.run(ctx, { argv: ["nsenter", `--net=${netns}`, ...argv] });
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return stdout;
};

describe("a namespace on a bridge", () => {
  it("carries traffic on both families", async () => {
    expect(await inside("busybox", "ping", "-c1", "-W2", "10.213.96.1")).toContain("1 packets received");
    expect(await inside("busybox", "ping", "-c1", "-W2", "fd00:213:96::1")).toContain("1 packets received");
    const link = (await host.kernel.links(netns)).find(({ name }) => name === "eth0");
    expect(link?.rxBytes).toBeGreaterThan(100);
    expect(link?.txPackets).toBeGreaterThan(1);
  });

  it("has its default routes, and a port with hairpin", async () => {
    expect(await inside("ip", "route")).toContain("default via 10.213.96.1 dev eth0");
    expect(await inside("ip", "-6", "route")).toContain("default via fd00:213:96::1 dev eth0");
    const { stdout } = await host.processes.run(ctx, {
      argv: ["bridge", "-d", "link", "show", "dev", `vbn${testSuffix}`],
    });
    expect(stdout).toContain("hairpin on");
  });

  it("changes routes: replacing and deleting", async () => {
    const route = { destination: "10.99.0.0/16", gateway: "10.213.96.1", metric: 7 };
    const replace = { op: "route-replace", netns, route } as const;
    await host.kernel.apply(ctx, [replace, { ...replace, route: { ...route, gateway: "10.213.96.9" } }]);
    expect((await inside("ip", "route", "show", "10.99.0.0/16")).trim()).toBe(
      "10.99.0.0/16 via 10.213.96.9 dev eth0 proto static metric 7",
    );
    const remove = { op: "route-delete", netns, route: { destination: "10.99.0.0/16", metric: 7 } } as const;
    await host.kernel.apply(ctx, [remove, remove]);
    expect(await inside("ip", "route", "show", "10.99.0.0/16")).toBe("");
    await host.kernel.apply(ctx, [
      { op: "route-replace", netns, route: { destination: "10.98.0.0/16", device: "eth0" } },
    ]);
    expect(await inside("ip", "route", "show", "10.98.0.0/16")).toContain("dev eth0 proto static scope link");
  });

  it("has sysctls of its own", async () => {
    const key = "net.ipv4.ip_unprivileged_port_start";
    const before = await host.processes.run(ctx, { argv: ["sysctl", "-n", key] });
    await host.kernel.apply(ctx, [{ op: "sysctl", netns, key, value: "77" }]);
    expect((await inside("sysctl", "-n", key)).trim()).toBe("77");
    expect(await host.processes.run(ctx, { argv: ["sysctl", "-n", key] })).toEqual(before);
    const missing = { op: "sysctl", netns, key: "net.ipv4.no_such_key", value: "1" } as const;
    await host.kernel.apply(ctx, [{ ...missing, optional: true }]);
    await expect(host.kernel.apply(ctx, [missing])).rejects.toThrow(/net\.ipv4\.no_such_key=1 in .*ENOENT/);
  });

  it("refuses a pair on what is no bridge, and leaves nothing of it", async () => {
    const veth = {
      op: "veth-create",
      name: `vbx${testSuffix}`,
      netns,
      peer: "eth9",
      mtu: 1500,
      mac: "02:00:00:00:00:09",
    } as const;
    await expect(host.kernel.apply(ctx, [{ ...veth, bridge: "lo" }])).rejects.toMatchObject({
      code: "KERNEL_OP_FAILED",
    });
    await expect(host.kernel.apply(ctx, [{ ...veth, bridge: "no-such" }])).rejects.toThrow(/no link no-such/);
    await expect(host.kernel.apply(ctx, [{ ...veth, bridge, netns: join(directory, "none") }])).rejects.toThrow(
      /ENOENT/,
    );
    expect((await host.kernel.links()).some(({ name }) => name === veth.name)).toBe(false);
    expect((await host.kernel.links(netns)).some(({ name }) => name === "eth9")).toBe(false);
  });

  it("does not take another kind of link for a bridge", async () => {
    await expect(
      host.kernel.apply(ctx, [{ op: "bridge-create", name: "lo", mtu: 1500, addresses: [] }]),
    ).rejects.toThrow(/is no bridge/);
  });
});

it("deletes a link inside a namespace", async () => {
  const path = join(directory, "other");
  await host.kernel.apply(ctx, [
    { op: "netns-create", path },
    {
      op: "veth-create",
      name: `vbd${testSuffix}`,
      bridge,
      netns: path,
      peer: "eth0",
      mtu: 1400,
      mac: "02:00:00:00:00:03",
    },
    { op: "link-delete", netns: path, name: "eth0" },
  ]);
  expect((await host.kernel.links(path)).map(({ name }) => name)).toEqual(["lo"]);
  expect((await host.kernel.links()).some(({ name }) => name === `vbd${testSuffix}`)).toBe(false);
  await host.kernel.apply(ctx, [{ op: "netns-remove", path }]);
});

import { afterAll, beforeAll, expect, it } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import type { Host } from "../../../src/host/host.ts";
import type { NftElement } from "../../../src/host/kernel-ops.ts";
import { openHost, testSuffix } from "./linux-host.ts";

const ctx = background();
const table = `berth_t${testSuffix}`;
let host: Host;

beforeAll(async () => {
  host = await openHost();
  const script = `table inet ${table} {
    chain web { }
    map ports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
    map simple { type inet_service : ipv4_addr; }
    map verdicts { type ifname . ipv4_addr : verdict; }
    set six { type ipv6_addr . inet_service; }
    set networks { type ipv4_addr; flags interval; }
  }`;
  await host.kernel.apply(ctx, [{ op: "nft-script", script }]);
});

afterAll(async () => {
  await host.kernel.apply(ctx, [{ op: "nft-script", script: `delete table inet ${table}` }]);
  const { code } = await host.processes.run(ctx, { argv: ["nft", "list", "table", "inet", table] });
  await host.close();
  expect(code).toBe(1);
});

const add = (set: string, ...elements: NftElement[]) =>
  host.kernel.apply(ctx, [{ op: "nft-add-elements", table, set, elements }]);
const remove = (set: string, ...elements: NftElement[]) =>
  host.kernel.apply(ctx, [{ op: "nft-delete-elements", table, set, elements }]);
const listed = async (kind: "map" | "set", name: string) =>
  (await host.processes.run(ctx, { argv: ["nft", "list", kind, "inet", table, name] })).stdout.replace(/\s+/g, " ");

it("adds to and deletes from maps with concatenated keys, as nft itself shows them", async () => {
  const web = { key: "10.1.2.3 . tcp . 80", value: "172.17.0.2 . 8080" };
  const dns = { key: "10.1.2.3 . udp . 53", value: "172.17.0.3 . 53" };
  await add("ports", web, dns);
  await add("ports", web);
  expect(await listed("map", "ports")).toContain("10.1.2.3 . tcp . 80 : 172.17.0.2 . 8080");
  expect(await listed("map", "ports")).toContain("10.1.2.3 . udp . 53 : 172.17.0.3 . 53");
  await expect(add("ports", { ...web, value: "172.17.0.9 . 1" })).rejects.toThrow(/inet berth_t\w+ ports: EEXIST/);
  await remove("ports", { key: "9.9.9.9 . tcp . 1" }, { key: web.key });
  await remove("ports", { key: web.key });
  expect(await listed("map", "ports")).not.toContain("172.17.0.2");
  expect(await listed("map", "ports")).toContain("172.17.0.3 . 53");
});

it("adds verdicts, interface names and IPv6 addresses", async () => {
  await add("verdicts", { key: "eth0 . 10.0.0.1", value: "jump web" }, { key: '"lo" . 10.0.0.1', value: "drop" });
  await add("six", { key: "fd00::1 . 443" });
  expect(await listed("map", "verdicts")).toContain('"eth0" . 10.0.0.1 : jump web');
  expect(await listed("map", "verdicts")).toContain('"lo" . 10.0.0.1 : drop');
  expect(await listed("set", "six")).toContain("fd00::1 . 443");
});

it("adds a thousand in one transaction, or none", async () => {
  const elements = Array.from({ length: 1000 }, (_, i) => ({ key: String(2000 + i), value: "10.0.0.2" }));
  await add("simple", { key: "2999", value: "10.0.0.3" });
  await expect(add("simple", ...elements)).rejects.toThrow(/EEXIST/);
  expect((await listed("map", "simple")).split("10.0.0.2").length - 1).toBe(0);
  await remove("simple", { key: "2999" });
  await add("simple", ...elements);
  expect((await listed("map", "simple")).split("10.0.0.2").length - 1).toBe(1000);
  await remove("simple", ...elements);
  expect(await listed("map", "simple")).not.toContain("elements");
});

it("leaves what it does not know to nft", async () => {
  await add("networks", { key: "10.0.0.0/8" });
  expect(await listed("set", "networks")).toContain("10.0.0.0/8");
  await remove("networks", { key: "10.0.0.0/8" }, { key: "11.0.0.0/8" });
  expect(await listed("set", "networks")).not.toContain("10.0.0.0/8");
});

it("names set and reason when it can't", async () => {
  await expect(add("missing", { key: "1" })).rejects.toThrow(/missing: ENOENT: no such table or set/);
  await expect(add("simple", { key: "no-such-service", value: "10.0.0.1" })).rejects.toThrow(
    /Could not resolve service/,
  );
  await expect(host.kernel.apply(ctx, [{ op: "nft-script", script: "add nonsense" }])).rejects.toThrow(/syntax error/);
  await remove("missing", { key: "1" });
});

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import { checkHost, type HostCheck } from "../../../src/host/checks.ts";
import type { Host } from "../../../src/host/host.ts";
import { openHost } from "./linux-host.ts";

let host: Host;
let directory: string;

beforeAll(async () => {
  host = await openHost();
  directory = mkdtempSync(join(tmpdir(), "berth-checks-"));
});

afterAll(async () => {
  await host.close();
  rmSync(directory, { recursive: true });
});

it("tries this machine out, and leaves nothing of it", async () => {
  const links = (await host.kernel.links()).map(({ name }) => name);
  const seen: HostCheck[] = [];
  const dataRoot = join(directory, "not", "there", "yet");
  const checks = await checkHost(background(), host, { dataRoot, onResult: (result) => seen.push(result) });
  expect(seen).toEqual(checks);
  const byId = Object.fromEntries(checks.map((check) => [check.id, check]));
  for (const id of ["privileges", "kernel", "overlay", "cgroups", "network-devices", "nftables"]) {
    expect(byId[id]?.status, JSON.stringify(byId[id])).not.toBe("error");
  }
  for (const check of checks) expect(check.status === "ok", JSON.stringify(check)).toBe(check.remedy === "");
  expect(readdirSync(directory)).toEqual([]);
  expect(await host.kernel.mounts(directory)).toEqual([]);
  const left = (await host.kernel.links()).map(({ name }) => name).filter((name) => !links.includes(name));
  expect(left.filter((name) => /^(brtchk|vbchk)/.test(name))).toEqual([]);
});

it("says what is wrong where an overlay can't stand", async () => {
  const checks = await checkHost(background(), host, { dataRoot: "/proc/berth" });
  expect(checks.find(({ id }) => id === "overlay")).toMatchObject({
    status: "error",
    detail: expect.stringMatching(/ENOENT/),
  });
});

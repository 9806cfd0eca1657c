/** Templates: the first machine of an image is booted, the next restored from what was saved of one like it. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, truncateSync, chmodSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import type { OutputFrame } from "../../../src/instances/driver.ts";
import { instanceSpec } from "../../../src/instances/fake/instance-spec.ts";
import { guestKernelPackage } from "../../support/guest-kernel.ts";
import { QemuWorld } from "./qemu-world.ts";

const ctx = background();
const root = mkdtempSync(join(tmpdir(), "berth-templates-"));
const options = {
  root,
  binaries: join(root, "bin"),
  kernelPackage: guestKernelPackage(),
  templateBytes: 1024 ** 3,
};
const templates = () => readdirSync(join(root, "templates"));

beforeAll(() => {
  execFileSync("sh", ["guest/build.sh", options.binaries]);
});
afterAll(() => rmSync(root, { recursive: true }));

/** Runs a script in a machine of its own. `restored` is the template's key. */
async function run(world: QemuWorld, script: string, hostname = "m") {
  const spec = instanceSpec(["sh", "-c", script], { isolation: "vm" });
  const { driver } = world;
  const { handle } = await driver.prepare(ctx, await world.request(spec, { hostname }));
  try {
    const { output } = await driver.attach(ctx, handle);
    const printed = text(output.map(({ data }: OutputFrame) => data));
    await driver.start(ctx, handle);
    const { exitCode } = await driver.wait(ctx, handle);
    return { exitCode, printed: await printed, restored: handle.state["template"] };
  } finally {
    await driver.destroy(ctx, handle);
  }
}

const identity = [
  "hostname",
  "cat /own 2>/dev/null",
  "echo mine > /own",
  "cat /proc/sys/kernel/random/boot_id",
  "head -c 16 /dev/urandom | od -An -tx1",
  "date +%s",
].join("; ");

test("the second machine of an image is restored, and each clone is somebody of its own", async () => {
  await using world = await QemuWorld.open(options);
  const first = await run(world, "echo booted");
  expect(first).toEqual({ exitCode: 0, printed: "booted\n", restored: undefined });
  await world.driver.settled();
  expect(templates()).toHaveLength(1);
  const clones = [await run(world, identity, "web1"), await run(world, identity, "web2")];
  const seen = clones.map(({ printed }) => printed.trim().split("\n"));
  expect(clones.map(({ restored }) => restored)).toEqual([templates()[0], templates()[0]]);
  const [one = [], two = []] = seen;
  // No /own of the other's.
  expect([one.length, two.length]).toEqual([4, 4]);
  expect([one[0], two[0]]).toEqual(["web1", "web2"]);
  expect(one[1]).not.toBe(two[1]);
  expect(one[2]).not.toBe(two[2]);
  for (const clock of [one[3], two[3]]) expect(Math.abs(Number(clock) - Date.now() / 1000)).toBeLessThan(120);
});

test("a template that can't be restored costs a boot, and is dropped", async () => {
  await using world = await QemuWorld.open(options);
  const [key = ""] = templates();
  const state = join(root, "templates", key, "state");
  chmodSync(state, 0o600);
  truncateSync(state, 1000);
  const after = await run(world, "echo all the same");
  expect(after).toMatchObject({ exitCode: 0, printed: "all the same\n" });
  expect(templates()).toEqual([]);
});

test("an engine that is closed while it makes one leaves nothing of it", async () => {
  await using world = await QemuWorld.open(options);
  expect(await run(world, "true")).toMatchObject({ exitCode: 0, restored: undefined });
  await world.driver.close();
  expect(templates()).toEqual([]);
});

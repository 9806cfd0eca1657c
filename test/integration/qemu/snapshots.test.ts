/** Snapshots and the screen of a running QEMU. The guest is a boot sector with a count in memory and one on its disk. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execFileSync } from "node:child_process";
import { afterEach, beforeEach, expect, test } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import { backUpDisks } from "../../../src/qemu/backup.ts";
import { chordFor, pressKeys } from "../../../src/qemu/keys.ts";
import { QmpClient } from "../../../src/qemu/qmp-client.ts";
import { takeScreenshot } from "../../../src/qemu/screen.ts";
import { deleteSnapshot, loadMachine, saveMachine, snapshotDisks } from "../../../src/qemu/snapshots.ts";
import { CounterGuest, counterMachine, makeCounterDisk } from "./counter-guest.ts";
import { RawQemu } from "./raw-qemu.ts";

const ctx = background();
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "berth-snapshots-"));
  makeCounterDisk(dir);
});
afterEach(() => rmSync(dir, { recursive: true }));

const tags = () => {
  const info: { readonly snapshots?: readonly { readonly name: string }[] } = JSON.parse(
    execFileSync("qemu-img", ["info", "--output=json", "-U", join(dir, "disk.qcow2")], { encoding: "utf8" }),
  );
  return (info.snapshots ?? []).map(({ name }) => name);
};
const request = (tag: string) => ({ tag, nodes: ["vda"], name: tag });

test("a running machine goes back to its memory and disk of a snapshot, in place, and to none that is not there", async () => {
  await using qemu = await RawQemu.start(counterMachine, dir);
  using qmp = await QmpClient.connect(ctx, qemu.monitor);
  const guest = await CounterGuest.open(dir);
  expect(await guest.ask("+")).toBe(1);
  expect(await guest.ask("w")).toBe(1);
  await saveMachine(ctx, qmp, request("one"));
  expect(await guest.ask("+")).toBe(2);
  expect(await guest.ask("w")).toBe(2);
  await saveMachine(ctx, qmp, request("two"));

  await loadMachine(ctx, qmp, request("one"));
  expect([await guest.ask("?"), await guest.ask("r")]).toEqual([1, 1]);
  await loadMachine(ctx, qmp, request("two"));
  expect([await guest.ask("?"), await guest.ask("r")]).toEqual([2, 2]);

  await expect(loadMachine(ctx, qmp, request("none"))).rejects.toMatchObject({ code: "SNAPSHOT_NOT_IN_DISK" });
  expect(await guest.ask("+")).toBe(3);
  await deleteSnapshot(ctx, qmp, request("one"));
  await deleteSnapshot(ctx, qmp, request("one"));
  expect(tags()).toEqual(["two"]);
  guest.close();
});

test("disks alone are taken while it runs on, all or none; what a fresh QEMU loads is the state of another", async () => {
  {
    await using qemu = await RawQemu.start(counterMachine, dir);
    using qmp = await QmpClient.connect(ctx, qemu.monitor);
    const guest = await CounterGuest.open(dir);
    await guest.ask("+");
    await guest.ask("w");
    await snapshotDisks(ctx, qmp, request("disk"));
    await expect(snapshotDisks(ctx, qmp, request("disk"))).rejects.toThrow("disk");
    await expect(snapshotDisks(ctx, qmp, { ...request("more"), nodes: ["vda", "none"] })).rejects.toThrow("none");
    expect(tags()).toEqual(["disk"]);
    await guest.ask("+");
    await saveMachine(ctx, qmp, request("state"));
    guest.close();
  }
  await using qemu = await RawQemu.start((at) => [...counterMachine(at), "-S"], dir);
  using qmp = await QmpClient.connect(ctx, qemu.monitor);
  await loadMachine(ctx, qmp, request("state"));
  await qmp.execute(ctx, "cont");
  const guest = await CounterGuest.open(dir);
  expect([await guest.ask("?"), await guest.ask("r")]).toEqual([2, 1]);
  guest.close();
});

test("a backup is of the moment at which it began; one that fails leaves nothing open", async () => {
  await using qemu = await RawQemu.start(counterMachine, dir);
  using qmp = await QmpClient.connect(ctx, qemu.monitor);
  const guest = await CounterGuest.open(dir);
  await guest.ask("+");
  await guest.ask("w");
  const copy = join(dir, "copy.qcow2");
  execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", copy, String(1024 * 1024)]);
  let begun = false;
  const onBegun = async () => {
    begun = true;
    await guest.ask("+");
    await guest.ask("w");
  };
  const options = { name: "counter", limitMs: 60_000 };
  await backUpDisks(ctx, qmp, [{ node: "vda", file: copy }], { ...options, onBegun });
  expect([begun, await guest.ask("r")]).toEqual([true, 2]);
  guest.close();

  execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", join(dir, "small.qcow2"), "64K"]);
  const failing = [
    { node: "vda", file: copy },
    { node: "vda", file: join(dir, "small.qcow2") },
  ];
  await expect(backUpDisks(ctx, qmp, failing, options)).rejects.toMatchObject({ code: "QMP_REFUSED" });
  const nodes = JSON.stringify(await qmp.execute(ctx, "query-named-block-nodes", { flat: true }));
  expect(nodes).not.toContain("backup");
  const raw = join(dir, "copy.raw");
  execFileSync("qemu-img", ["convert", "-O", "raw", copy, raw]);
  expect(readFileSync(raw)[512]).toBe(1);
});

test("the screen is a PNG; keys are pressed; without a screen it says so", async () => {
  await using qemu = await RawQemu.start((at) => [...counterMachine(at), "-device", "VGA"], dir);
  using qmp = await QmpClient.connect(ctx, qemu.monitor);
  const file = join(dir, "screen.png");
  await takeScreenshot(ctx, qmp, file);
  const png = readFileSync(file);
  expect(png.subarray(0, 8).toString("latin1")).toBe("\x89PNG\r\n\x1a\n");
  expect(png.readUInt32BE(16)).toBeGreaterThanOrEqual(640);
  await pressKeys(
    ctx,
    qmp,
    Array.from("aZ 9?\n").map((character) => chordFor(character) ?? []),
  );
  await expect(pressKeys(ctx, qmp, [["no-such-key"]])).rejects.toMatchObject({ code: "QMP_REFUSED" });
  await using blind = await RawQemu.start(() => ["-M", "q35", "-m", "16"]);
  using other = await QmpClient.connect(ctx, blind.monitor);
  await expect(takeScreenshot(ctx, other, join(blind.dir, "x.png"))).rejects.toMatchObject({ code: "QMP_REFUSED" });
});

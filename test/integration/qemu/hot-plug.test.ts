/** What is plugged into and out of a running Linux: its kernel says on the console what it has found. One boot. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { silentLogger } from "../../../src/base/logger.ts";
import { background } from "../../../src/base/op-context.ts";
import { GuestKits } from "../../../src/guest/guest-kit.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";
import { plugCard, unplugCard } from "../../../src/qemu/cards.ts";
import { namedDevices, unplug } from "../../../src/qemu/devices.ts";
import { ejectMedium, growDisk, insertMedium, plugDisk, unplugDisk } from "../../../src/qemu/disks.ts";
import { QmpClient } from "../../../src/qemu/qmp-client.ts";
import { balloon, balloonSize, cpuCount, memorySize, plugCpus, plugMemory } from "../../../src/qemu/size.ts";
import { RawQemu } from "./raw-qemu.ts";

const ctx = background();
const MiB = 1024 * 1024;
const dir = mkdtempSync(join(tmpdir(), "berth-hot-plug-"));
const ports = ["hot0", "hot1"];
let qemu: RawQemu;
let qmp: QmpClient;

beforeAll(async () => {
  execFileSync("sh", ["guest/build.sh", dir]);
  const host = await createLinuxHost({ log: silentLogger });
  const kernelPackage = process.env["BERTH_TEST_KERNEL_PACKAGE"] ?? "";
  const kit = await new GuestKits({ host, root: dir, agent: join(dir, "agent"), kernelPackage }).get(ctx);
  await host.close();
  qemu = await RawQemu.start(
    () =>
      [
        ["-M", "q35", "-m", "size=256M,slots=8,maxmem=1G", "-smp", "cpus=1,maxcpus=2"],
        ["-kernel", kit.kernel, "-initrd", kit.initrd, "-append", "console=ttyS0 mitigations=off"],
        ["-chardev", `file,id=console,path=${join(dir, "console")}`, "-serial", "chardev:console"],
        ports.flatMap((port, nth) => ["-device", `pcie-root-port,id=${port},chassis=${nth + 1},slot=${nth + 1}`]),
        ["-device", "virtio-scsi-pci,id=scsi", "-device", "scsi-cd,bus=scsi.0,id=cd0"],
        ["-device", "virtio-balloon-pci,id=balloon", "-device", "virtio-serial-pci"],
        ["-chardev", "null,id=agent", "-device", "virtserialport,chardev=agent,name=org.berth.agent.0"],
      ].flat(),
    dir,
  );
  qmp = await QmpClient.connect(ctx, qemu.monitor);
  for (let n = 0; n < 6000 && !told().includes("fuse: init"); n++) await delay(10);
});

afterAll(async () => {
  qmp?.close();
  await qemu?.[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});

const told = () => {
  const path = join(dir, "console");
  return existsSync(path) ? readFileSync(path, "utf8") : "";
};
const seen = { timeout: 30_000 };

test("a disk comes, grows and goes, and its place is free for the next", async () => {
  const file = join(dir, "data.qcow2");
  execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", file, "64M"]);
  const disk = { name: "data", file, format: "qcow2", readOnly: false, bus: "virtio" } as const;
  await plugDisk(ctx, qmp, disk, ports);
  await expect.poll(told, seen).toContain("[vda] 131072 512-byte logical blocks");
  await expect(plugDisk(ctx, qmp, disk, ports)).rejects.toMatchObject({ code: "QMP_REFUSED" });
  await growDisk(ctx, qmp, "data", 128 * MiB);
  await expect.poll(told, seen).toContain("detected capacity change from 131072 to 262144");
  await unplugDisk(ctx, qmp, "data");
  expect((await namedDevices(ctx, qmp)).has("data")).toBe(false);
  await unplugDisk(ctx, qmp, "data");

  for (const name of ["one", "two"]) await plugDisk(ctx, qmp, { ...disk, name, readOnly: true }, ports);
  const third = plugDisk(ctx, qmp, { ...disk, name: "three", readOnly: true }, ports);
  await expect(third).rejects.toMatchObject({ code: "HOT_PLUG_FULL" });
  const nodes = JSON.stringify(await qmp.execute(ctx, "query-named-block-nodes", { flat: true }));
  expect(nodes).not.toContain("three");
  for (const name of ["one", "two"]) await unplugDisk(ctx, qmp, name);
});

test("a card comes and goes with its back-end", async () => {
  await qmp.execute(ctx, "netdev_add", { type: "hubport", id: "net1", hubid: 0 });
  await plugCard(ctx, qmp, { name: "net1", model: "virtio", mac: "52:54:00:00:00:11" }, ports);
  expect((await namedDevices(ctx, qmp)).get("net1")).toBe("virtio-net-pci");
  await unplugCard(ctx, qmp, "net1");
  await unplugCard(ctx, qmp, "net1");
  await qmp.execute(ctx, "netdev_add", { type: "hubport", id: "net1", hubid: 0 });
  await qmp.execute(ctx, "netdev_del", { id: "net1" });
});

test("an ISO is put into a drive, replaced and taken out", async () => {
  const iso = join(dir, "a.iso");
  writeFileSync(iso, "");
  truncateSync(iso, 2 * MiB);
  const medium = async () => JSON.stringify(await qmp.execute(ctx, "query-block"));
  await insertMedium(ctx, qmp, "cd0", iso);
  await insertMedium(ctx, qmp, "cd0", iso);
  expect(await medium()).toContain("a.iso");
  await ejectMedium(ctx, qmp, "cd0");
  expect(await medium()).not.toContain("a.iso");
  await ejectMedium(ctx, qmp, "cd0");
  await expect(insertMedium(ctx, qmp, "cd9", iso)).rejects.toMatchObject({ code: "DEVICE_MISSING" });
  await expect(insertMedium(ctx, qmp, "cd0", join(dir, "none.iso"))).rejects.toMatchObject({ code: "QMP_REFUSED" });
});

test("processors and memory are added up to what there is room for; the balloon takes memory back", async () => {
  await plugCpus(ctx, qmp, 2);
  await plugCpus(ctx, qmp, 1);
  expect(await cpuCount(ctx, qmp)).toBe(2);
  await expect.poll(told, seen).toContain("CPU1 has been hot-added");
  await expect(plugCpus(ctx, qmp, 3)).rejects.toMatchObject({ code: "CPUS_FULL" });

  await plugMemory(ctx, qmp, 128 * MiB);
  await expect(plugMemory(ctx, qmp, 1024 * MiB)).rejects.toMatchObject({ code: "MEMORY_FULL" });
  await plugMemory(ctx, qmp, 128 * MiB);
  expect(await memorySize(ctx, qmp)).toEqual({ base: 256 * MiB, plugged: 256 * MiB });
  await balloon(ctx, qmp, 400 * MiB);
  await expect.poll(() => balloonSize(ctx, qmp), seen).toBe(400 * MiB);
});

test("a guest that keeps a device is an error within the limit; once it lets go, it is gone", async () => {
  const file = join(dir, "kept.qcow2");
  execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", file, "64M"]);
  await plugDisk(ctx, qmp, { name: "kept", file, format: "qcow2", readOnly: false, bus: "virtio" }, ports);
  await qmp.execute(ctx, "stop"); // A guest that stands still answers nothing.
  await expect(unplug(ctx, qmp, "kept", 300)).rejects.toMatchObject({ code: "GUEST_KEEPS_DEVICE" });
  await qmp.execute(ctx, "cont");
  await unplugDisk(ctx, qmp, "kept");
  expect((await namedDevices(ctx, qmp)).has("kept")).toBe(false);
});

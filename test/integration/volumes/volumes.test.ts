import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ThreadConfinedRoots } from "../../../src/archive/thread-confined-roots.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { background } from "../../../src/base/op-context.ts";
import type { Host } from "../../../src/host/host.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";
import type { EngineEvent } from "../../../src/schema/event.ts";
import { EventBus } from "../../../src/state/events.ts";
import { MemoryStore } from "../../../src/state/fake/memory-store.ts";
import { createVolumeService } from "../../../src/volumes/local-volumes.ts";
import type { CreateVolumeRequest, VolumeService } from "../../../src/volumes/volume-service.ts";

import { du } from "../../support/du.ts";

const ctx = background();

describe("local volumes on the real kernel", () => {
  let host: Host;
  let roots: ThreadConfinedRoots;
  let directory: string;
  let store: MemoryStore;
  let events: EngineEvent[];
  let volumes: VolumeService;

  beforeAll(async () => {
    host = await createLinuxHost({ log: silentLogger });
    roots = new ThreadConfinedRoots();
    directory = mkdtempSync(join(tmpdir(), "berth-vol-"));
  });
  afterAll(async () => {
    const mounts = await host.kernel.mounts(directory);
    await roots[Symbol.asyncDispose]();
    await host.close();
    rmSync(directory, { recursive: true, force: true });
    expect(mounts).toEqual([]);
  });
  beforeEach(() => {
    store = new MemoryStore();
    events = [];
    volumes = open();
  });

  function open(): VolumeService {
    const bus = new EventBus();
    bus.subscribe((event) => events.push(event));
    return createVolumeService({
      store,
      host,
      roots,
      events: bus,
      dataRoot: directory,
      users: () => [],
      log: silentLogger,
    });
  }

  it("fills an empty volume from the image, with owners, modes, links and attributes", async () => {
    const image = join(directory, "image");
    mkdirSync(join(image, "sub"), { recursive: true });
    writeFileSync(join(image, "sub", "file"), "content");
    chownSync(join(image, "sub", "file"), 1000, 1001);
    chmodSync(join(image, "sub", "file"), 0o4750);
    linkSync(join(image, "sub", "file"), join(image, "hard"));
    symlinkSync("/etc/passwd", join(image, "soft"));
    const colour = Buffer.from("blue");
    await host.kernel.apply(ctx, [
      { op: "set-xattr", path: join(image, "sub", "file"), name: "user.colour", value: colour },
    ]);
    chownSync(image, 33, 33);
    chmodSync(image, 0o2770);

    const volume = await volumes.create(ctx, request("filled"));
    await volumes.copyUp(ctx, "filled", image);

    const file = lstatSync(join(volume.mountpoint, "sub", "file"));
    expect([file.uid, file.gid, file.mode & 0o7777]).toEqual([1000, 1001, 0o4750]);
    expect(lstatSync(join(volume.mountpoint, "hard")).ino).toBe(file.ino);
    expect(readlinkSync(join(volume.mountpoint, "soft"))).toBe("/etc/passwd");
    expect(Buffer.from((await host.kernel.getXattr(join(volume.mountpoint, "hard"), "user.colour")) ?? "")).toEqual(
      colour,
    );
    const top = lstatSync(volume.mountpoint);
    expect([top.uid, top.gid, top.mode & 0o7777]).toEqual([33, 33, 0o2770]);
    expect(readdirSync(join(volume.mountpoint, ".."))).toEqual(["_data"]);
    expect(await volumes.diskUsage(ctx, ["filled"])).toEqual([du(join(volume.mountpoint, ".."))]);

    // Only an empty one is filled.
    writeFileSync(join(image, "late"), "");
    await volumes.copyUp(ctx, "filled", image);
    expect(existsSync(join(volume.mountpoint, "late"))).toBe(false);
    await volumes.remove(ctx, "filled", false);
    expect(readdirSync(join(directory, "volumes"))).toEqual([]);
  });

  it("takes only the owner and mode of an empty directory", async () => {
    const image = join(directory, "empty");
    mkdirSync(image);
    chownSync(image, 7, 7);
    chmodSync(image, 0o1777);
    const { mountpoint } = await volumes.create(ctx, request("empty"));
    await volumes.copyUp(ctx, "empty", image);
    const top = lstatSync(mountpoint);
    expect([top.uid, top.mode & 0o7777]).toEqual([7, 0o1777]);
    await volumes.remove(ctx, "empty", false);
  });

  it("mounts a device for the first user and unmounts it after the last, over a restart", async () => {
    const options = { type: "tmpfs", device: "tmpfs", o: "size=1m,uid=1000,nosuid" };
    const { mountpoint } = await volumes.create(ctx, { ...request("ram"), options });
    expect(await host.kernel.mounts(mountpoint)).toEqual([]);
    expect(await volumes.mount(ctx, "ram", "one")).toBe(mountpoint);
    await volumes.mount(ctx, "ram", "two");
    expect(await host.kernel.mounts(mountpoint)).toHaveLength(1);
    expect(lstatSync(mountpoint).uid).toBe(1000);
    volumes = open();
    await volumes.unmount(ctx, "ram", "one");
    expect(await host.kernel.mounts(mountpoint)).toHaveLength(1);
    await volumes.unmount(ctx, "ram", "two");
    await volumes.unmount(ctx, "ram", "two");
    expect(await host.kernel.mounts(mountpoint)).toEqual([]);
    expect(events.map(({ action }) => action)).toEqual(["create", "mount", "mount", "unmount", "unmount"]);
    await volumes.remove(ctx, "ram", false);
  });

  it("removes a bind volume without touching what it was bound to", async () => {
    const device = join(directory, "mine");
    mkdirSync(device);
    writeFileSync(join(device, "keep"), "kept");
    await volumes.create(ctx, { ...request("bound"), options: { type: "none", device, o: "bind,ro" } });
    const mountpoint = await volumes.mount(ctx, "bound", "one");
    expect(readFileSync(join(mountpoint, "keep"), "utf8")).toBe("kept");
    expect(() => writeFileSync(join(mountpoint, "new"), "")).toThrow(/EROFS/);
    await volumes.remove(ctx, "bound", true);
    expect(readFileSync(join(device, "keep"), "utf8")).toBe("kept");
    expect(await host.kernel.mounts(directory)).toEqual([]);
  });

  it("says what could not be mounted", async () => {
    const options = { type: "none", device: "/nowhere/at/all", o: "bind" };
    await volumes.create(ctx, { ...request("broken"), options });
    await expect(volumes.mount(ctx, "broken", "one")).rejects.toThrow(
      /failed to mount local volume broken.*\/nowhere\/at\/all/,
    );
    await volumes.remove(ctx, "broken", false);
  });

  it("counts bytes without following links that a container made", async () => {
    const { mountpoint } = await volumes.create(ctx, request("sized"));
    symlinkSync("/usr", join(mountpoint, "way-out"));
    writeFileSync(join(mountpoint, "one"), "12345");
    linkSync(join(mountpoint, "one"), join(mountpoint, "two"));
    const size = du(join(mountpoint, ".."));
    expect(await volumes.diskUsage(ctx, ["sized", "missing"])).toEqual([size, 0]);
    const { deleted, reclaimedBytes } = await volumes.prune(ctx, { all: ["true"] });
    expect([deleted, reclaimedBytes]).toEqual([["sized"], size]);
  });
});

function request(name: string): CreateVolumeRequest {
  return { name, driver: "local", options: {}, labels: {} };
}

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { InProcessRoots } from "../archive/fake/in-process-roots.ts";
import { silentLogger } from "../base/logger.ts";
import { background } from "../base/op-context.ts";
import { failpoints } from "../host/failpoints.ts";
import { FakeHost } from "../host/fake/fake-host.ts";
import { EventBus } from "../state/events.ts";
import { MemoryStore } from "../state/fake/memory-store.ts";
import { createVolumeService } from "./local-volumes.ts";
import type { CreateVolumeRequest, VolumeService } from "./volume-service.ts";

const ctx = background();

describe("local volumes", () => {
  let dataRoot: string;
  let host: FakeHost;
  let events: EventBus;
  let store: MemoryStore;
  let users: Record<string, readonly string[]>;
  let volumes: VolumeService;

  beforeEach(() => {
    dataRoot = mkdtempSync(join(tmpdir(), "berth-volumes-"));
    host = new FakeHost();
    events = new EventBus();
    users = {};
    store = new MemoryStore();
    volumes = createVolumeService({
      store,
      host,
      roots: new InProcessRoots(),
      events,
      dataRoot,
      users: (name) => users[name] ?? [],
      log: silentLogger,
    });
  });
  afterEach(() => {
    failpoints.arm("");
    rmSync(dataRoot, { recursive: true, force: true });
  });

  it("makes a directory, once", async () => {
    const volume = await volumes.create(ctx, request({ name: "data", labels: { a: "b" } }));
    expect(volume).toMatchObject({ name: "data", driver: "local", labels: { a: "b" }, anonymous: false });
    expect(existsSync(volume.mountpoint)).toBe(true);
    expect(await volumes.create(ctx, request({ name: "data" }))).toEqual(volume);
    expect(events.recent().map(({ action, actorId, attributes }) => [action, actorId, attributes])).toEqual([
      ["create", "data", { driver: "local" }],
    ]);
  });

  it("stays as it was when it can't be moved away: the next of its name must not find its files", async () => {
    const { mountpoint } = await volumes.create(ctx, request({ name: "data" }));
    writeFileSync(join(mountpoint, "kept"), "");
    failpoints.arm("file.rename#1=fail");
    await expect(volumes.remove(ctx, "data", false)).rejects.toThrow("EIO");
    expect(volumes.get("data")).toBeDefined();
    expect(store.journal.open()).toEqual([]);
    await volumes.remove(ctx, "data", false);
    expect(readdirSync(join(dataRoot, "volumes"))).toEqual([]);
  });

  it("belongs to the instance it was made for until somebody else asks for it", async () => {
    expect(await volumes.create(ctx, request({ name: "data", madeFor: "one" }))).toMatchObject({ madeFor: "one" });
    expect((await volumes.create(ctx, request({ name: "data", madeFor: "one" }))).madeFor).toBe("one");
    expect((await volumes.create(ctx, request({ name: "data" }))).madeFor).toBeUndefined();
    expect(volumes.get("data")?.madeFor).toBeUndefined();
  });

  it("names an anonymous volume with 64 digits", async () => {
    const volume = await volumes.create(ctx, request({ name: "" }));
    expect(volume.name).toMatch(/^[0-9a-f]{64}$/);
    expect(volume.anonymous).toBe(true);
    const chosen = await volumes.create(ctx, request({ name: "ab12", anonymous: true }));
    expect(chosen.anonymous).toBe(true);
  });

  it.each([
    [
      "bad name",
      /includes invalid characters for a local volume name, only "\[a-zA-Z0-9\]\[a-zA-Z0-9_.-\]" are allowed/,
    ],
    ["../etc", /includes invalid characters/],
    ["-x", /includes invalid characters/],
    ["x", /volume name is too short/],
    ["x".repeat(256), /includes invalid characters/],
  ])("refuses the name %s", async (name, message) => {
    await expect(volumes.create(ctx, request({ name }))).rejects.toThrow(message);
    expect(readdirSync(dataRoot)).toEqual([]);
  });

  it.each([
    [{ foo: "bar" }, /invalid option: "foo"/],
    [{ type: "nfs" }, /missing required option: "device"/],
    [{ device: "/dev/sdz" }, /missing required option: "type"/],
    [{ type: "none", device: "rel", o: "bind" }, /absolute path/],
    [{ type: "ext4", device: "/dev/sdz", o: "noatime" }, /mount option not supported: noatime/],
    [{ size: "1g" }, /no quota support/],
  ])("refuses the options %j", async (options, message) => {
    await expect(volumes.create(ctx, request({ name: "opt", options }))).rejects.toThrow(message);
  });

  it("refuses an unknown driver and other options for an existing name", async () => {
    await expect(volumes.create(ctx, request({ name: "vv", driver: "zfs" }))).rejects.toMatchObject({ status: 404 });
    const options = { type: "tmpfs", device: "tmpfs" };
    const made = await volumes.create(ctx, request({ name: "vv", options }));
    expect(await volumes.create(ctx, request({ name: "vv" }))).toEqual(made);
    expect(await volumes.create(ctx, request({ name: "vv", options }))).toEqual(made);
    const other = request({ name: "vv", options: { ...options, o: "ro" } });
    await expect(volumes.create(ctx, other)).rejects.toMatchObject({ code: "VOLUME_CONFLICT", status: 409 });
  });

  it("refuses to remove what is used, and names the users", async () => {
    await volumes.create(ctx, request({ name: "used" }));
    users = { used: ["abc"] };
    await expect(volumes.remove(ctx, "used", true)).rejects.toThrow("remove used: volume is in use - [abc]");
    users = {};
    await volumes.remove(ctx, "used", false);
    expect(readdirSync(join(dataRoot, "volumes"))).toEqual([]);
    await expect(volumes.remove(ctx, "used", false)).rejects.toThrow("get used: no such volume");
    await volumes.remove(ctx, "used", true);
  });

  it("finishes at its start what a killed engine had begun, and keeps what has a user's files", async () => {
    const root = join(dataRoot, "volumes");
    const { mountpoint } = await volumes.create(ctx, request({ name: "whole" }));
    mkdirSync(join(root, "whole", "_draft"));
    writeFileSync(join(mountpoint, "file"), "");
    mkdirSync(join(root, ".removed-old-1234", "_data"), { recursive: true });
    mkdirSync(join(root, "never-recorded", "_data"), { recursive: true });
    mkdirSync(join(root, "unknown", "_data"), { recursive: true });
    writeFileSync(join(root, "unknown", "_data", "file"), "");
    // Its record is gone, its files are still in their place.
    mkdirSync(join(root, "half-removed", "_data"), { recursive: true });
    writeFileSync(join(root, "half-removed", "_data", "file"), "");
    store.journal.begin("volume.remove", "half-removed", {});
    await volumes.recover(ctx, new Set());
    expect(readdirSync(root).toSorted()).toEqual(["unknown", "whole"]);
    expect(readdirSync(join(root, "whole"))).toEqual(["_data"]);
    expect(existsSync(join(mountpoint, "file"))).toBe(true);
    expect(store.journal.open()).toEqual([]);
  });

  it("takes the devices of those that don't live any more off the host", async () => {
    const options = { type: "tmpfs", device: "tmpfs" };
    const { mountpoint } = await volumes.create(ctx, request({ name: "device", options }));
    await volumes.mount(ctx, "device", "one");
    await volumes.mount(ctx, "device", "two");
    await volumes.recover(ctx, new Set(["one"]));
    expect((await host.kernel.mounts(mountpoint)).length).toBe(1);
    await volumes.recover(ctx, new Set());
    expect((await host.kernel.mounts(mountpoint)).length).toBe(0);
  });

  it("prunes unused anonymous volumes; named ones only with all", async () => {
    await volumes.create(ctx, request({ name: "named" }));
    await volumes.create(ctx, request({ name: "labelled", labels: { keep: "yes" } }));
    const anonymous = await volumes.create(ctx, request({ name: "" }));
    writeFileSync(join(anonymous.mountpoint, "file"), "12345");
    await volumes.create(ctx, request({ name: "held", anonymous: true }));
    users = { held: ["abc"] };
    const size = (await volumes.diskUsage(ctx, [anonymous.name]))[0] ?? 0;
    expect(size).toBeGreaterThan(4096);
    expect(await volumes.prune(ctx, {})).toEqual({ deleted: [anonymous.name], reclaimedBytes: size });
    expect((await volumes.prune(ctx, { all: ["1"], "label!": ["keep=yes"] })).deleted).toEqual(["named"]);
    expect((await volumes.prune(ctx, { all: ["1"], label: ["keep"] })).deleted).toEqual(["labelled"]);
    await expect(volumes.prune(ctx, { until: ["1h"] })).rejects.toMatchObject({ status: 400 });
    await expect(volumes.prune(ctx, { all: ["perhaps"] })).rejects.toThrow("all=perhaps");
    expect(volumes.list().map(({ name }) => name)).toEqual(["held"]);
  });

  it("mounts a device with its flags apart from its data, and a bind without data", async () => {
    await volumes.create(
      ctx,
      request({ name: "nfs", options: { type: "nfs", device: ":/export", o: "addr=10.0.0.1,ro,nosuid,nfsvers=4" } }),
    );
    await volumes.create(
      ctx,
      request({ name: "bound", options: { type: "none", device: "/srv", o: "rbind,rslave,x=1" } }),
    );
    await volumes.mount(ctx, "nfs", "one");
    await volumes.mount(ctx, "nfs", "two");
    await volumes.mount(ctx, "bound", "one");
    expect(host.kernel.ops).toEqual([
      expect.objectContaining({ fstype: "nfs", flags: ["ro", "nosuid"], data: "addr=10.0.0.1,nfsvers=4" }),
      expect.objectContaining({ source: "/srv", flags: ["bind", "rec", "rslave"] }),
    ]);
    expect(host.kernel.ops[1]).not.toHaveProperty("data");
    await volumes.unmount(ctx, "nfs", "one");
    expect(await host.kernel.mounts(dataRoot)).toHaveLength(2);
    await volumes.unmount(ctx, "nfs", "two");
    expect(await host.kernel.mounts(dataRoot)).toHaveLength(1);
  });

  it("leaves no holder when a mount fails", async () => {
    await volumes.create(ctx, request({ name: "bad", options: { type: "ext4", device: "/dev/none" } }));
    {
      using _failure = host.kernel.failWhen((op) => (op.op === "mount" ? "ENODEV" : undefined));
      await expect(volumes.mount(ctx, "bad", "one")).rejects.toMatchObject({ code: "VOLUME_MOUNT_FAILED" });
    }
    await volumes.unmount(ctx, "bad", "one");
    expect(events.recent().map(({ action }) => action)).toEqual(["create"]);
  });

  it("tells Docker's attributes with a mount", async () => {
    await volumes.create(ctx, request({ name: "told" }));
    await volumes.mount(ctx, "told", "abc", { destination: "/data", readOnly: true, propagation: "" });
    expect(events.recent().at(-1)).toMatchObject({
      action: "mount",
      attributes: { container: "abc", destination: "/data", driver: "local", propagation: "", "read/write": "false" },
    });
  });
});

function request(more: Partial<CreateVolumeRequest>): CreateVolumeRequest {
  return { name: "", driver: "local", options: {}, labels: {}, ...more };
}

/** Instances whose root file system is in their guest: nothing of it is mounted here, and the guest is asked. */
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { DriverInside } from "./driver.ts";
import { TestEngine } from "./fake/test-engine.ts";

const vm = { isolation: "vm" } as const;

/** A guest with "/file", into which everything can be unpacked. */
function guest() {
  const unpacked: unknown[] = [];
  const inside: DriverInside = {
    rests: true,
    stat: async (_ctx, _handle, path) => {
      if (path === "/file") return { mode: 0o100644, size: 5, mtimeSeconds: 0, linkTarget: "" };
      return path === "/dir/" ? { mode: 0o040755, size: 0, mtimeSeconds: 0, linkTarget: "" } : undefined;
    },
    pack: async (_ctx, _handle, { path, name }) => Readable.from([Buffer.from(`${name} of ${path}`)]),
    changes: async () => [{ kind: "added", path: "/made" }],
    packChanges: async (_ctx, _handle, { freeze }) => Readable.from([Buffer.from(freeze ? "frozen" : "running")]),
    unpack: async (_ctx, _handle, { directory, tar, owner, replace }) =>
      void unpacked.push({ directory, tar: await text(tar), owner, replace }),
    processes: async () => [{ pid: 1, ppid: 0, uid: 7, cpuSeconds: 3725, command: "serve --all" }],
  };
  return { inside, unpacked };
}

describe("an instance with its root inside", () => {
  it("has no root mounted on the host, neither in its run nor after the engine's death", async () => {
    await using engine = new TestEngine(guest());
    const id = await engine.run(["sleep", "1000"], vm);
    expect(engine.snapshots.mounted.size).toBe(0);
    expect(engine.machine.tasks.get(id)?.request).toMatchObject({ rootfs: "", dataDir: expect.stringContaining(id) });
    await engine.restart();
    expect(engine.service.resolve(id).state.status).toBe("running");
    expect(engine.snapshots.mounted.size).toBe(0);
  });

  it("has its files copied by whoever is in there", async () => {
    const { inside, unpacked } = guest();
    await using engine = new TestEngine({ inside });
    const id = await engine.run(["sleep", "1000"], vm);
    const { stat, tar } = await engine.service.copyFrom(engine.ctx, id, "/file");
    expect(stat).toMatchObject({ name: "file", size: 5, mode: 0o644 });
    expect(await text(tar)).toBe("file of /file");
    expect(await text(await engine.service.export(engine.ctx, id))).toBe(". of /");
    const options = { noOverwriteDirNonDir: true, copyUidGid: false };
    await engine.service.copyTo(engine.ctx, id, "/dir", Readable.from([Buffer.from("tar")]), options);
    expect(unpacked).toEqual([{ directory: "/dir", tar: "tar", owner: undefined, replace: false }]);
    const nowhere = engine.service.copyTo(engine.ctx, id, "/nosuch", Readable.from([]), options);
    await expect(nowhere).rejects.toMatchObject({ code: "PATH_NOT_IN_INSTANCE" });
    await expect(engine.service.statPath(engine.ctx, id, "/nosuch")).rejects.toMatchObject({
      code: "PATH_NOT_IN_INSTANCE",
    });
  });

  it("has its changes listed and packed by whoever is in there, stopped meanwhile if so asked", async () => {
    await using engine = new TestEngine(guest());
    const id = await engine.run(["sleep", "1000"], vm);
    expect(await engine.service.changes(engine.ctx, id)).toEqual([{ kind: "added", path: "/made" }]);
    for (const pause of [true, false]) {
      await engine.service.commit(engine.ctx, id, { comment: "", author: "", changes: [], pause });
      expect(engine.service.resolve(id).state.status).toBe("running");
    }
    expect(engine.snapshots.imported).toEqual(["frozen", "running"]);
    expect(engine.images.created.map(({ layers }) => layers.length)).toEqual([2, 2]);
  });

  it("lists its processes as they are inside", async () => {
    await using engine = new TestEngine(guest());
    const id = await engine.run(["sleep", "1000"], vm);
    expect(await engine.service.processes(engine.ctx, id, "")).toEqual({
      titles: ["UID", "PID", "PPID", "TIME", "CMD"],
      rows: [["7", "1", "0", "01:02:05", "serve --all"]],
    });
    await expect(engine.service.processes(engine.ctx, id, "aux")).rejects.toMatchObject({ code: "INSIDE_UNSUPPORTED" });
  });

  it("is asked by way of a machine made for that while it does not run, which ends before it is started", async () => {
    const { inside, unpacked } = guest();
    await using engine = new TestEngine({ inside });
    const id = await engine.create(["sleep", "1000"], { ...vm, process: { user: "app" } });
    const { tar } = await engine.service.copyFrom(engine.ctx, id, "/file");
    const resting = engine.machine.task(id);
    expect(resting.request).toMatchObject({
      resting: true,
      interfaces: [],
      logPath: "",
      namespaces: { network: "private" },
    });
    expect(await text(tar)).toBe("file of /file");
    const gzipped = Readable.from([gzipSync("tar")]);
    const options = { noOverwriteDirNonDir: false, copyUidGid: true };
    await engine.service.copyTo(engine.ctx, id, "/dir", gzipped, options);
    expect(unpacked).toEqual([{ directory: "/dir", tar: "tar", owner: "app", replace: true }]);
    expect(await engine.service.changes(engine.ctx, id)).toHaveLength(1);
    // One for all of them.
    expect(engine.machine.task(id)).toBe(resting);
    expect(engine.service.resolve(id).state).toMatchObject({ status: "created", handle: null });
    await engine.service.start(engine.ctx, id);
    expect(resting.phase).toBe("exited");
    expect(engine.machine.task(id).request.resting).toBeUndefined();
  });

  it("ends a machine made for its files when they have been left alone, and with the engine", async () => {
    let pass = () => {};
    const sleep = (_ms: number, signal?: AbortSignal) =>
      new Promise<void>((resolve, reject) => {
        pass = resolve;
        signal?.addEventListener("abort", () => reject(new Error("aborted")));
      });
    const clock = { now: () => Date.now(), sleep };
    await using engine = new TestEngine({ ...guest(), clock });
    const id = await engine.create(["sleep", "1000"], vm);
    await engine.service.statPath(engine.ctx, id, "/file");
    expect(engine.machine.task(id).phase).toBe("running");
    pass();
    await engine.service.settled();
    expect(engine.machine.tasks.has(id)).toBe(false);
    await engine.service.statPath(engine.ctx, id, "/file");
    await engine.service.close();
    expect(engine.machine.tasks.has(id)).toBe(false);
  });

  it("is removed also while its files are read", async () => {
    await using engine = new TestEngine(guest());
    const id = await engine.create(["sleep", "1000"], vm);
    await engine.service.copyFrom(engine.ctx, id, "/file");
    await engine.service.remove(engine.ctx, id, { force: false, volumes: false });
    expect(engine.machine.tasks.has(id)).toBe(false);
  });

  it("counts what such a machine takes, and refuses where that is not there", async () => {
    await using engine = new TestEngine(guest());
    const id = await engine.create(["sleep", "1000"], vm);
    engine.totals = { ...engine.totals, memory: 200 * 1024 ** 2 };
    await expect(engine.service.statPath(engine.ctx, id, "/file")).rejects.toMatchObject({ code: "CAPACITY_SHORT" });
    expect(engine.machine.tasks.has(id)).toBe(false);
  });

  it("takes nothing into a root that is read-only, whether it runs or not", async () => {
    await using engine = new TestEngine(guest());
    const security = { readonlyRootfs: true };
    const id = await engine.create(["sleep", "1000"], { ...vm, security });
    const copied = () =>
      engine.service.copyTo(engine.ctx, id, "/dir", Readable.from([]), {
        noOverwriteDirNonDir: true,
        copyUidGid: false,
      });
    await expect(copied()).rejects.toMatchObject({ code: "COPY_READ_ONLY" });
    await engine.service.start(engine.ctx, id);
    await expect(copied()).rejects.toMatchObject({ code: "COPY_READ_ONLY" });
    await engine.service.pause(engine.ctx, id);
    await expect(engine.service.statPath(engine.ctx, id, "/file")).rejects.toMatchObject({
      code: "INSIDE_NEEDS_RUNNING",
    });
  });

  it("refuses by name what is not there yet", async () => {
    await using engine = new TestEngine(guest());
    const id = await engine.run(["sleep", "1000"], { ...vm, network: bridged(engine) });
    const refused = { code: "INSIDE_UNSUPPORTED", status: 501 };
    await expect(engine.service.withRootfs(engine.ctx, id, async () => {})).rejects.toMatchObject(refused);
    await expect(engine.service.connect(engine.ctx, id, "app", { aliases: [] })).rejects.toMatchObject(refused);
    await expect(engine.service.disconnect(engine.ctx, id, "bridge", false)).rejects.toMatchObject(refused);
  });
});

function bridged(engine: TestEngine) {
  const [name = ""] = engine.networks.names;
  return {
    mode: name,
    endpoints: { [name]: { aliases: [] } },
    ports: [],
    exposedPorts: [],
    publishAll: false,
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts: [],
  };
}

/** Instances whose root file system is in their guest: nothing of it is mounted here, and the guest is asked. */
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import type { DriverInside } from "./driver.ts";
import { TestEngine } from "./fake/test-engine.ts";

const vm = { isolation: "vm" } as const;

/** A guest with "/file", into which everything can be unpacked. */
function guest() {
  const unpacked: { readonly directory: string; readonly tar: string }[] = [];
  const inside: DriverInside = {
    stat: async (_ctx, _handle, path) => {
      if (path === "/file") return { mode: 0o100644, size: 5, mtimeSeconds: 0, linkTarget: "" };
      return path === "/dir/" ? { mode: 0o040755, size: 0, mtimeSeconds: 0, linkTarget: "" } : undefined;
    },
    pack: async (_ctx, _handle, { path, name }) => Readable.from([Buffer.from(`${name} of ${path}`)]),
    changes: async () => [{ kind: "added", path: "/made" }],
    packChanges: async (_ctx, _handle, { freeze }) => Readable.from([Buffer.from(freeze ? "frozen" : "running")]),
    unpack: async (_ctx, _handle, directory, tar) => void unpacked.push({ directory, tar: await text(tar) }),
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
    expect(unpacked).toEqual([{ directory: "/dir", tar: "tar" }]);
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

  it("can't be asked while nobody is there", async () => {
    await using engine = new TestEngine(guest());
    const id = await engine.create(["sleep", "1000"], vm);
    await expect(engine.service.copyFrom(engine.ctx, id, "/file")).rejects.toMatchObject({
      code: "INSIDE_NEEDS_RUNNING",
      status: 409,
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

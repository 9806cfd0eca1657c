import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { tarOf } from "../../archive/fake/tar-builder.ts";
import type { FakeProcess } from "../../host/fake/fake-processes.ts";
import { openTestRoom, type TestRoom } from "../fake/test-images.ts";

let etc = "";
let room: TestRoom;
beforeEach(async () => {
  etc = mkdtempSync(join(tmpdir(), "berth-etc-"));
  mkdirSync(join(etc, "apt", "sources.list.d"), { recursive: true });
  mkdirSync(join(etc, "apt", "auth.conf.d"));
  writeFileSync(join(etc, "os-release"), "ID=debian\nVERSION_CODENAME=bookworm\n");
  writeFileSync(
    join(etc, "apt/sources.list"),
    "deb file:/srv/mirror bookworm main\ndeb http://user:pw@private.example/d bookworm main\ndeb http://127.0.0.1:9/d bookworm-updates main\n",
  );
  room = await openTestRoom({ etc });
  room.host.processes.install("mmdebstrap");
  room.host.processes.script("apt-config", () => ({
    stdout: "Acquire::Check-Valid-Until false\nAcquire::http::Proxy http://proxy.example:3142\n",
  }));
});
afterEach(async () => {
  await room[Symbol.asyncDispose]();
  rmSync(etc, { recursive: true });
});

/** Plays mmdebstrap: looks at what it was given, writes these to its outputs, ends. */
function play(run: { readonly stdout?: Buffer; readonly stderr?: string; readonly code: number }): {
  files: string[];
  sources: string;
} {
  const seen = { files: [] as string[], sources: "" };
  room.host.processes.onSpawn((child: FakeProcess) => {
    const argv = child.request?.argv ?? [];
    const overlay = /sync-in (\S+) \/$/.exec(argv.find((word) => word.includes("sync-in")) ?? "")?.[1] ?? "";
    seen.files = readdirSync(overlay, { recursive: true, encoding: "utf8" });
    seen.sources = readFileSync(join(overlay, "etc/apt/sources.list.d/0000distribution.list"), "utf8");
    setImmediate(() => {
      const [out, error] = [child.fds.get(1), child.fds.get(2)];
      if (typeof out === "number" && run.stdout !== undefined) writeSync(out, run.stdout);
      if (typeof error === "number" && run.stderr !== undefined) writeSync(error, run.stderr);
      child.exit(run.code);
    });
  });
  return seen;
}

const bootstrap = (more: object = {}) =>
  room.images.bootstrap(room.ctx, { reference: "debian:12", ...more }, room.progress);

test("the host's sources and settings go in; what only works with a secret stays out", async () => {
  const seen = play({ stdout: tarOf({ name: "etc/debian_version", data: "12" }), stderr: "I: working\n", code: 0 });
  const image = await bootstrap({ as: "ubuntu:18.04", include: ["nginx"] });
  expect(image).toMatchObject({
    tags: ["docker.io/library/ubuntu:18.04"],
    config: { architecture: "amd64", config: { Cmd: ["bash"] } },
  });
  expect(image.config.history?.map(({ created_by }) => created_by)).toEqual([
    "berth image bootstrap debian:12",
    'CMD ["bash"]',
  ]);
  const [mmdebstrap] = room.host.processes.spawned;
  expect(mmdebstrap?.request?.argv).toEqual(
    expect.arrayContaining([
      "--variant=minbase",
      "--include=nginx",
      '--aptopt=Acquire::Check-Valid-Until "false"',
      '--aptopt=Acquire::http::Proxy "http://proxy.example:3142"',
      "bookworm",
    ]),
  );
  expect(mmdebstrap?.request?.env["SOURCE_DATE_EPOCH"]).toMatch(/^\d+$/);
  expect(seen.sources).toBe("deb http://127.0.0.1:9/d bookworm-updates main\n");
  expect(room.lines).toContain("working");
  expect(room.lines.join("\n")).not.toContain("pw@");
  await using view = await room.snapshotter.view(room.ctx, await room.images.unpack(room.ctx, image));
  expect(readdirSync(join(view.root, "usr/sbin"))).toEqual(["policy-rc.d"]);
  expect(readdirSync(`${room.snapshotter.root}/work`)).toEqual([]);
});

test("what mmdebstrap complains of is the reason; nothing is left", async () => {
  play({
    stdout: tarOf({ name: "half", data: "x" }),
    stderr: "I: running apt-get update...\nE: Could not resolve 'deb.debian.org'\nE: apt-get update failed\n",
    code: 25,
  });
  await expect(bootstrap()).rejects.toMatchObject({
    code: "BOOTSTRAP_FAILED",
    message:
      "bootstrapping debian:12 from file:/srv/mirror failed: Could not resolve 'deb.debian.org'; apt-get update failed",
  });
  expect(room.images.list()).toEqual([]);
  expect(await room.blobs()).toEqual([]);
  expect(await room.snapshotter.layers()).toEqual([]);
  expect(readdirSync(`${room.snapshotter.root}/work`)).toEqual([]);
});

test("what can't be is said before anything is started", async () => {
  await expect(bootstrap({ reference: "alpine" })).rejects.toThrow(/cannot bootstrap alpine/);
  await expect(bootstrap({ include: ["--hook=x"] })).rejects.toThrow(/no package's name/);
  await expect(bootstrap({ mirror: "ftp://x" })).rejects.toThrow(/no mirror's URL/);
  room.host.processes.uninstall("mmdebstrap");
  await expect(bootstrap()).rejects.toThrow("mmdebstrap is not installed");
  expect(room.host.processes.spawned).toEqual([]);
});

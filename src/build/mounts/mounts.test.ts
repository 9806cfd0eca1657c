/** `RUN --mount` in builds with fakes around: which stages are built, when a step runs again, what its container gets. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pack } from "tar-stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { background } from "../../base/op-context.ts";
import type { InstanceRequest } from "../../instances/instance-service.ts";
import type { ImageRecord } from "../../schema/image.ts";
import type { MountSpec } from "../../schema/instance.ts";
import { unlimited } from "../../schema/resources.ts";
import type { BuildRequest } from "../build-service.ts";
import { BuildWorld } from "../fake/build-world.ts";

type Files = Readonly<Record<string, string>>;

let world: BuildWorld;
let printed: string;
/** Names to contents of the files that a step's binds showed it, by target. */
let seen: Map<string, Files>;
let commands: string[];

beforeEach(async () => {
  seen = new Map();
  commands = [];
  world = await BuildWorld.open(async (_root, request, print) => {
    commands.push((request.process.cmd ?? []).at(-1) ?? "");
    for (const mount of request.mounts) if (mount.type === "bind") seen.set(mount.target, await filesOf(mount.source));
    print("ran\n");
    return 0;
  });
  world.addImage("base");
});

afterEach(async () => {
  expect([...world.alive]).toEqual([]);
  expect(await world.snapshotter.list()).toEqual([]);
  expect(await readdir(join(world.directory, "build")).catch(() => [])).toEqual([]);
  expect(world.store.journal.open()).toEqual([]);
  await world[Symbol.asyncDispose]();
});

async function filesOf(path: string): Promise<Files> {
  if (!(await stat(path)).isDirectory()) return { "": await readFile(path, "utf8") };
  const names = (await readdir(path, { withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
  return Object.fromEntries(
    await Promise.all(names.sort().map(async (name) => [name, await readFile(join(path, name), "utf8")] as const)),
  );
}

async function build(dockerfile: string, files: Files = {}, options: Partial<BuildRequest> = {}): Promise<ImageRecord> {
  printed = "";
  const archive = pack();
  for (const [name, content] of Object.entries({ Dockerfile: dockerfile, ...files })) archive.entry({ name }, content);
  archive.finalize();
  const request: BuildRequest = {
    context: { tar: Readable.from([await buffer(archive)]) },
    dockerfile: "Dockerfile",
    tags: [],
    target: "",
    buildArgs: {},
    labels: {},
    noCache: false,
    pull: false,
    quiet: false,
    forceRemove: false,
    cacheFrom: [],
    networkMode: "default",
    extraHosts: [],
    resources: unlimited,
    shmSize: 0,
    ulimits: [],
    squash: false,
    auths: {},
    ...options,
  };
  return await world.builder.build(background(), request, ({ stream }) => void (printed += stream ?? ""));
}

const lastRequest = (): InstanceRequest => world.created.at(-1) ?? expect.fail("no step ran");
const mountAt = (target: string): MountSpec | undefined =>
  lastRequest().mounts.find((mount) => mount.target === target);

it("builds a stage that only a mount names, before the step, and no other", async () => {
  await build(
    "FROM base AS used\nRUN first\nFROM base AS unused\nRUN never\nFROM base\nRUN --mount=from=used,target=/u second\n",
  );
  expect(commands).toEqual(["first", "second"]);
});

it("mounts a stage for an image's ONBUILD trigger as well", async () => {
  world.addImage("triggers", { OnBuild: ["RUN --mount=from=conf,target=/c use"] });
  await build("FROM base AS conf\nRUN make\nFROM triggers\n");
  expect(commands).toEqual(["make", "use"]);
});

it("shows a step what it binds, at targets from its working directory, with variables expanded", async () => {
  const files = { "a.txt": "A", "sub/b": "B" };
  const dockerfile =
    "FROM base\nARG DIR=sub\nWORKDIR /w\nRUN --mount=target=. --mount=source=$DIR,target=in/$DIR,rw x\n";
  await build(dockerfile, files);
  expect(seen.get("/w")).toMatchObject({ "a.txt": "A" });
  expect(seen.get("/w/in/sub")).toEqual({ b: "B" });
  expect([mountAt("/w"), mountAt("/w/in/sub")]).toMatchObject([{ readOnly: true }, { readOnly: false }]);
});

it("runs again for another content, another target and another option, and for nothing else", async () => {
  const run = async (options: string, files: Files): Promise<boolean> => {
    await build(`FROM base\nRUN --mount=${options} x\n`, files);
    return !printed.includes("Using cache");
  };
  expect(await run("source=a,target=/a", { a: "1", b: "1" })).toBe(true);
  expect(await run("src=./a,dst=/a,ro", { a: "1", b: "2" })).toBe(false);
  expect(await run("source=a,target=/a", { a: "2", b: "2" })).toBe(true);
  expect(await run("source=a,target=/b", { a: "2", b: "2" })).toBe(true);
  expect(await run("source=a,target=/b,rw", { a: "2", b: "2" })).toBe(true);
  expect(await run("type=cache,target=/c", {})).toBe(true);
  expect(await run("target=/c,type=cache,sharing=shared,id=/c", {})).toBe(false);
  expect(await run("type=cache,target=/c,sharing=locked", {})).toBe(true);
});

it("gives each step the same cache, and a tmpfs with its options", async () => {
  await build("FROM base\nRUN --mount=type=cache,target=/c one\n");
  const first = mountAt("/c");
  await build("FROM base\nRUN --mount=type=tmpfs,target=/t,size=1k,ro --mount=type=cache,target=/c,mode=0755 other\n");
  expect(mountAt("/t")).toEqual({ type: "tmpfs", target: "/t", options: ["exec", "size=1024", "ro"] });
  // Its mode was asked for: it is one of its own.
  expect(mountAt("/c")).not.toEqual(first);
  await build("FROM base\nRUN --mount=type=cache,target=/c two\n");
  expect(mountAt("/c")).toEqual(first);
});

it("asks for secrets when the step runs, and keeps them out of what is written down", async () => {
  const asked: string[] = [];
  const secrets: NonNullable<BuildRequest["secrets"]> = {
    get: async (_ctx, id) => (asked.push(id), id === "none" ? undefined : Buffer.from(`value of ${id}`)),
  };
  const dockerfile =
    "FROM base\nRUN --mount=type=secret,id=a --mount=type=secret,id=none --mount=type=secret,id=b,env=B --mount=type=secret,target=/etc/c x\n";
  const image = await build(dockerfile, {}, { secrets });
  expect(Object.fromEntries(seen)).toEqual({ "/run/secrets/a": { "": "value of a" }, "/etc/c": { "": "value of c" } });
  const { secretEnv, ...rest } = lastRequest();
  expect(secretEnv).toEqual(["B=value of b"]);
  expect(JSON.stringify([rest, image])).not.toContain("value of");
  expect(asked).toEqual(["a", "none", "b", "c"]);
  await build(dockerfile, {}, { secrets });
  expect(asked).toHaveLength(4);
});

it.each([
  ["type=secret,id=a", "RUN --mount=type=secret needs docker buildx"],
  ["type=ssh", "RUN --mount=type=ssh needs docker buildx"],
  ["source=none,target=/x", 'cannot mount /x: "none": not found'],
  ["type=cache,source=sub,target=/x", 'cannot mount /x: "sub": not found'],
  ["target=/", 'invalid mount target "/"'],
])("refuses %s in a build without a session", async (options, message) => {
  await expect(build(`FROM base\nRUN --mount=${options} x\n`)).rejects.toThrow(message);
  expect(commands).toEqual([]);
});

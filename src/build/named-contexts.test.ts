/** Builds with named contexts, in the builder's world of fakes. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pack } from "tar-stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { background } from "../base/op-context.ts";
import { noProgress } from "../base/progress.ts";
import { chainId } from "../images/chain-id.ts";
import { unlimited } from "../schema/resources.ts";
import type { BuildRequest, NamedContext } from "./build-service.ts";
import { BuildWorld } from "./fake/build-world.ts";

let world: BuildWorld;
let runs: string[];

beforeEach(async () => {
  runs = [];
  world = await BuildWorld.open(async (root, request) => {
    const command = (request.process.cmd ?? []).at(-1) ?? "";
    runs.push(command);
    const [, name = "", text = ""] = command.split(" ");
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), text);
    return 0;
  });
});
afterEach(async () => {
  expect(await world.snapshotter.list()).toEqual([]);
  await world[Symbol.asyncDispose]();
});

const tarOf = async (files: Readonly<Record<string, string>>): Promise<Buffer> => {
  const archive = pack();
  for (const [name, content] of Object.entries(files)) archive.entry({ name }, content);
  archive.finalize();
  return await buffer(archive);
};

/** What is in the result. */
async function build(
  dockerfile: string,
  namedContexts: Readonly<Record<string, NamedContext>>,
  options: Partial<BuildRequest> = {},
): Promise<readonly string[]> {
  const image = await world.builder.build(
    background(),
    {
      context: { tar: Readable.from([await tarOf({ Dockerfile: dockerfile, own: "own" })]) },
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
      namedContexts,
      ...options,
    },
    noProgress,
  );
  return await world.snapshotter.files(chainId(image.config.rootfs.diff_ids));
}

let opened = 0;
const files = (content: Readonly<Record<string, string>>): NamedContext => ({
  kind: "files",
  source: {
    open: async () => {
      opened++;
      return Readable.from([await tarOf(content)]);
    },
  },
});

it("copies from a directory by its name, and takes it once", async () => {
  opened = 0;
  const dockerfile = "FROM scratch\nCOPY --from=lib a /x\nCOPY --from=lib d/b /y\nCOPY own /z\n";
  expect(await build(dockerfile, { lib: files({ a: "A", "d/b": "B" }), other: files({}) })).toEqual([
    "/x: A",
    "/y: B",
    "/z: own",
  ]);
  expect(opened).toBe(1);
});

it("starts from a directory", async () => {
  expect(await build("FROM base\nRUN write /r R\n", { base: files({ a: "A" }) })).toEqual(["/a: A", "/r: R"]);
});

it("lets a context stand for a stage of its name", async () => {
  const dockerfile = "FROM scratch AS Deps\nRUN write /never x\nFROM scratch\nCOPY --from=deps / /d/\n";
  expect(await build(dockerfile, { deps: files({ a: "A" }) })).toEqual(["/d/", "/d/a: A"]);
  expect(runs).toEqual([]);
});

it.each(["base", "base:latest", "docker.io/library/base"])("finds %j under an image's other names", async (name) => {
  world.addImage("stand-in", { Env: ["A=from-the-other"] });
  await build(`FROM ${name}\nRUN write /$A x\n`, { base: { kind: "image", reference: "stand-in" } });
  expect(world.created[0]?.process.env).toContain("A=from-the-other");
  expect(world.pulls).toEqual([]);
});

it("does the steps of single stages again, and finds the others' in the cache", async () => {
  const dockerfile = "FROM scratch AS one\nRUN write /a a\nFROM scratch\nRUN write /b b\nCOPY --from=one /a /a\n";
  await build(dockerfile, {});
  expect(runs.toSorted()).toEqual(["write /a a", "write /b b"]);
  await build(dockerfile, {}, { noCacheStages: ["ONE"] });
  await build(dockerfile, {}, { noCacheStages: ["stage-1"] });
  expect(runs.slice(2)).toEqual(["write /a a", "write /b b"]);
});

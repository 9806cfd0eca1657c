import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { background, withSignal } from "../base/op-context.ts";
import type { ProgressEvent } from "../base/progress.ts";
import { chainId } from "../images/chain-id.ts";
import type { ImageRecord } from "../schema/image.ts";
import { unlimited } from "../schema/resources.ts";
import type { BuildRequest } from "./build-service.ts";
import { BuildCommandError } from "./errors.ts";
import { BuildWorld } from "./fake/build-world.ts";

type Files = Readonly<Record<string, string | Buffer>>;

let world: BuildWorld;
let events: ProgressEvent[];

beforeEach(async () => {
  events = [];
  // A shell of four words: echo prints, write makes a file, exit ends, hang waits to be killed.
  world = await BuildWorld.open(async (root, request, print, signal) => {
    const [word = "", ...rest] = (request.process.cmd ?? []).at(-1)?.split(" ") ?? [];
    switch (word) {
      case "echo":
        print(`${rest.join(" ")}\n`);
        return 0;
      case "warn":
        print(`${rest.join(" ")}\n`, "stderr");
        return 0;
      case "write": {
        const [name = "", ...text] = rest;
        await mkdir(dirname(join(root, name)), { recursive: true });
        await writeFile(join(root, name), text.join(" "));
        return 0;
      }
      case "exit":
        return Number(rest[0]);
      case "hang":
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        return 137;
      default:
        return 0;
    }
  });
});

afterEach(async () => {
  expect([...world.alive]).toEqual([]);
  expect(await readdir(join(world.directory, "build")).catch(() => [])).toEqual([]);
  expect(await world.snapshotter.list()).toEqual([]);
  expect([...world.openSinks]).toEqual([]);
  expect(world.store.journal.open()).toEqual([]);
  await world[Symbol.asyncDispose]();
});

async function tarOf(files: Files): Promise<Buffer> {
  const archive = pack();
  for (const [name, content] of Object.entries(files)) archive.entry({ name, mtime: new Date(Date.now()) }, content);
  archive.finalize();
  return await buffer(archive);
}

function request(context: BuildRequest["context"], options: Partial<BuildRequest> = {}): BuildRequest {
  return {
    context,
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
}

async function build(dockerfile: string, files: Files = {}, options: Partial<BuildRequest> = {}): Promise<ImageRecord> {
  events = [];
  const tar = Readable.from([await tarOf({ Dockerfile: dockerfile, ...files })]);
  return await world.builder.build(background(), request({ tar }, options), (event) => void events.push(event));
}

/** What was printed, with ids replaced by "ID". */
function printed(): string {
  return events
    .map(({ stream }) => stream ?? "")
    .join("")
    .replaceAll(/\b[0-9a-f]{12}\b/g, "ID");
}

async function filesIn(image: ImageRecord): Promise<readonly string[]> {
  return await world.snapshotter.files(chainId(image.config.rootfs.diff_ids));
}

function history(image: ImageRecord): readonly (string | undefined)[] {
  return (image.config.history ?? []).map((entry) => entry.created_by);
}

describe("a build", () => {
  it("prints, records and tags as Docker's classic builder does", async () => {
    world.addImage("base", { Cmd: ["old"], Env: ["A=1"] });
    const image = await build(
      'FROM base\nRUN echo hello\nRUN write a.txt x\nENV B=$A-2\nCMD ["nginx"]\nARG NOT\n',
      {},
      { tags: ["web", "reg.example/x:1"], labels: { z: "$A 'q'", a: "1" }, buildArgs: { OTHER: "x" } },
    );
    expect(printed()).toBe(`Step 1/8 : FROM base
 ---> ID
Step 2/8 : RUN echo hello
 ---> Running in ID
hello
 ---> Removed intermediate container ID
 ---> ID
Step 3/8 : RUN write a.txt x
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
Step 4/8 : ENV B=$A-2
 ---> ID
Step 5/8 : CMD ["nginx"]
 ---> ID
Step 6/8 : ARG NOT
 ---> ID
Step 7/8 : LABEL a=1
 ---> ID
Step 8/8 : LABEL z=$A 'q'
 ---> ID
[Warning] One or more build-args [OTHER] were not consumed
Successfully built ID
Successfully tagged web:latest
Successfully tagged reg.example/x:1
`);
    expect(events.find(({ aux }) => aux !== undefined)?.aux).toEqual({ ID: image.id });
    expect(history(image)).toEqual([
      "base",
      "/bin/sh -c echo hello",
      "/bin/sh -c write a.txt x",
      "/bin/sh -c #(nop)  ENV B=1-2",
      '/bin/sh -c #(nop)  CMD ["nginx"]',
      "/bin/sh -c #(nop)  ARG NOT",
      "/bin/sh -c #(nop)  LABEL a=1",
      "/bin/sh -c #(nop)  LABEL z=$A 'q'",
    ]);
    const withLayer = image.config.history?.filter((entry) => entry.empty_layer !== true);
    expect(withLayer?.map((entry) => entry.created_by)).toEqual(["base", "/bin/sh -c write a.txt x"]);
    expect(image.config.config).toEqual({
      Cmd: ["nginx"],
      Env: ["A=1", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "B=1-2"],
      Labels: { a: "1", z: "$A 'q'" },
    });
    expect(world.byTag("web")?.id).toBe(image.id);
    expect(await filesIn(image)).toEqual(["/a.txt: x"]);
  });

  it("answers with the id alone when it is quiet", async () => {
    world.addImage("base");
    const image = await build("FROM base\nRUN echo loud\n", {}, { quiet: true });
    expect(events).toEqual([{ stream: `${image.id}\n` }]);
  });

  it("lists an image without a name, but not the ones on the way", async () => {
    world.addImage("base");
    const image = await build("FROM base\nENV A=1\nENV B=2\n");
    expect(world.images.get(image.id)?.intermediate).toBe(false);
    expect([...world.images.values()].filter(({ intermediate }) => intermediate)).toHaveLength(1);
  });

  it("ends with the command's code and message, leaving nothing", async () => {
    world.addImage("base");
    const failure = await build("FROM base\nRUN exit 7\nRUN echo never\n").catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(BuildCommandError);
    expect(failure).toMatchObject({
      exitCode: 7,
      message: "The command '/bin/sh -c exit 7' returned a non-zero code: 7",
    });
    expect(printed()).not.toContain("never");
  });

  it("stops when the client goes away, and cleans up", async () => {
    world.addImage("base");
    const client = new AbortController();
    const tar = Readable.from([await tarOf({ Dockerfile: "FROM base\nRUN hang\n" })]);
    const building = world.builder.build(withSignal(background(), client.signal), request({ tar }), ({ stream }) => {
      if (stream?.includes("Running in") === true) setTimeout(() => client.abort(), 20);
    });
    await expect(building).rejects.toMatchObject({ code: "BUILD_CANCELLED", message: "Build cancelled" });
  });

  it("leaves nothing when a layer can't be made", async () => {
    world.addImage("base");
    world.snapshotter.commit = async () => Promise.reject(new Error("no room for a layer"));
    const context = { tar: Readable.from(await tarOf({ Dockerfile: "FROM base\nCOPY Dockerfile /\n" })) };
    await expect(world.builder.build(background(), request(context), () => {})).rejects.toThrow("no room for a layer");
  });

  it("prints errors of commands in red, and characters whole", async () => {
    world.addImage("base");
    await build("FROM base\nRUN warn schön\n");
    expect(printed()).toContain("\u001B[91mschön\n\u001B[0m");
  });
});

describe("the cache", () => {
  const dockerfile = "FROM base\nARG V=1\nCOPY a.txt /a/\nRUN write b x\nCMD x\n";

  it("is used while nothing changed, whatever the files' times", async () => {
    world.addImage("base");
    const first = await build(dockerfile, { "a.txt": "1", "other.txt": "1" });
    const runs = world.created.length;
    const second = await build(dockerfile, { "a.txt": "1", "other.txt": "2" });
    expect(second.id).toBe(first.id);
    expect(world.created).toHaveLength(runs);
    expect(printed().match(/Using cache/g)).toHaveLength(4);
  });

  it.each([
    ["a file", { "a.txt": "2" }, {}],
    ["a build argument", { "a.txt": "1" }, { buildArgs: { V: "2" } }],
    ["--no-cache", { "a.txt": "1" }, { noCache: true }],
  ])("runs again after a change of %s", async (_what, files, options) => {
    world.addImage("base");
    await build(dockerfile, { "a.txt": "1" });
    const runs = world.created.length;
    await build(dockerfile, files, options);
    expect(world.created.length).toBe(runs + 1);
  });

  it("does not depend on proxies", async () => {
    world.addImage("base");
    const first = await build("FROM base\nRUN write p x\n", {}, { buildArgs: { http_proxy: "http://one" } });
    expect(world.created[0]?.process.env).toContain("http_proxy=http://one");
    const second = await build("FROM base\nRUN write p x\n", {}, { buildArgs: { http_proxy: "http://two" } });
    expect(second.id).toBe(first.id);
  });

  it("is not believed when its image is gone", async () => {
    world.addImage("base");
    const first = await build(dockerfile, { "a.txt": "1" });
    for (const [id, image] of world.images) if (image.config.history?.length !== 1) world.images.delete(id);
    const second = await build(dockerfile, { "a.txt": "1" });
    expect(history(second)).toEqual(history(first));
    expect(printed()).not.toContain("Using cache");
  });

  it("takes steps from an image's history with cacheFrom", async () => {
    world.addImage("base");
    const first = await build(dockerfile, { "a.txt": "1" }, { tags: ["source"] });
    await world.builder.pruneCache(background(), { all: true, filters: {} });
    const runs = world.created.length;
    const second = await build(dockerfile, { "a.txt": "1" }, { cacheFrom: ["source", "missing"] });
    expect(world.created).toHaveLength(runs);
    expect(second.config.rootfs).toEqual(first.config.rootfs);
  });

  it("is only what the images of cacheFrom were built on, once some are named", async () => {
    world.addImage("base");
    const first = await build(dockerfile, { "a.txt": "1" }, { tags: ["source"] });
    await build("FROM base\nENV OTHER=1\n", {}, { tags: ["other"] });
    const runs = world.created.length;
    const again = await build(dockerfile, { "a.txt": "1" }, { cacheFrom: ["missing", "source"] });
    expect(again.id).toBe(first.id);
    expect(world.created).toHaveLength(runs);
    for (const cacheFrom of [["missing"], ["other"]]) {
      const without = await build(dockerfile, { "a.txt": "1" }, { cacheFrom });
      expect(without.id).not.toBe(first.id);
      expect(printed()).not.toContain("Using cache");
    }
    expect(world.created).toHaveLength(runs + 2);
  });

  it("forgets with prune what no listed image stands on, with all everything", async () => {
    world.addImage("base");
    await build("FROM base\nENV A=1\nENV B=1\n", {}, { tags: ["kept"] });
    await build("FROM base\nENV A=2\nRUN exit 1\n").catch(() => {});
    const some = await world.builder.pruneCache(background(), { all: false, filters: {} });
    expect(some.deleted).toHaveLength(1);
    expect(some.reclaimedBytes).toBe(100);
    expect((await world.builder.pruneCache(background(), { all: true, filters: { until: ["1h"] } })).deleted).toEqual(
      [],
    );
    expect((await world.builder.pruneCache(background(), { all: true, filters: {} })).deleted).toHaveLength(2);
    expect(world.byTag("kept")).toBeDefined();
    await expect(world.builder.pruneCache(background(), { all: true, filters: { x: ["1"] } })).rejects.toThrow(
      /filter x/,
    );
  });
});

describe("stages", () => {
  it("builds what the target needs, prints in order, and copies between them", async () => {
    world.addImage("base");
    const image = await build(
      `ARG TAG=latest
FROM base:$TAG AS Builder
RUN write out/app built
FROM base AS unneeded
RUN exit 1
FROM scratch AS final
COPY --from=builder /out /app/
COPY --from=0 /out/app /copy
FROM final AS later
RUN exit 1
`,
      {},
      { target: "final" },
    );
    expect(await filesIn(image)).toEqual(["/app/", "/app/app: built", "/copy: built"]);
    expect(printed()).toContain("Step 1/6 : ARG TAG=latest\nStep 2/6 : FROM base:$TAG AS Builder");
    expect(printed()).toContain("Step 4/6 : FROM scratch AS final\n ---> \n");
  });

  it("runs independent stages at the same time, keeping their output apart", async () => {
    world.addImage("base");
    await build(
      "FROM base AS one\nRUN echo 1a\nRUN echo 1b\nFROM base AS two\nRUN echo 2a\nFROM base\nCOPY --from=one / /one/\nCOPY --from=two / /two/\n",
    );
    const lines = printed()
      .split("\n")
      .filter((line) => /^(Step|[12][ab])/.test(line));
    expect(lines.map((line) => line.replace(/^Step (\d).*/, "$1"))).toEqual([
      "1",
      "2",
      "1a",
      "3",
      "1b",
      "4",
      "5",
      "2a",
      "6",
      "7",
      "8",
    ]);
  });

  it.each([
    ["FROM base\nCOPY --from=1 a b\n", "invalid from flag value 1: index out of bounds"],
    ["FROM base\nCOPY --from=0 a b\n", "invalid from flag value 0: refers to current build stage"],
    ["FROM ${NOPE}\n", "base name (${NOPE}) should not be blank"],
    ["FROM scratch\n", "No image was generated. Is your Dockerfile empty?"],
    ["FROM missing\n", "missing"],
    [
      "FROM base\nCOPY nope /\n",
      "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist",
    ],
    ["FROM base\nCOPY *.nope /\n", "COPY failed: no source files were specified"],
    ["FROM base\nCOPY ../x /\n", "COPY failed: forbidden path outside the build context: ../x ()"],
    [
      "FROM base\nCOPY a.txt b.txt /x\n",
      "When using COPY with more than one source file, the destination must be a directory and end with a /",
    ],
    ["FROM base\nCOPY http://x/y /x\n", "COPY failed: source can't be a URL for COPY"],
    ["FROM base\nCOPY --chmod=rwx a.txt /x\n", "--chmod"],
    ["FROM base\nCOPY --chown=jane a.txt /x\n", "can't find uid for user jane: no such user: jane"],
    ["FROM base\nRUN --security=insecure true\n", "the --security option of RUN requires BuildKit"],
    ["FROM base\nENV A=${B\n", "failed to parse Dockerfile: dockerfile parse error on line 2"],
    ["FROM base\nEXPOSE 99999\n", "line 2: invalid containerPort: 99999"],
    ["FRO base\n", "dockerfile parse error on line 1: unknown instruction: FRO (did you mean FROM?)"],
  ])("refuses %j: %s", async (dockerfile, message) => {
    world.addImage("base");
    const error = await build(dockerfile, { "a.txt": "a", "b.txt": "b" }).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ name: "BerthError", message: expect.stringContaining(message) });
  });

  it("names a target that isn't there, a Dockerfile that isn't there, options it doesn't have", async () => {
    world.addImage("base");
    await expect(build("FROM base\n", {}, { target: "zz" })).rejects.toThrow('target stage "zz" could not be found');
    await expect(build("FROM base\n", {}, { dockerfile: "nope" })).rejects.toThrow(
      "Cannot locate specified Dockerfile: nope",
    );
    await expect(build("FROM base\n", {}, { dockerfile: "../up" })).rejects.toThrow(
      "Cannot locate specified Dockerfile: ../up",
    );
    await expect(build("FROM base\n", {}, { squash: true })).rejects.toThrow("squash is not supported");
    await expect(build("FROM base\n", {}, { tags: ["UPPER"] })).rejects.toThrow(/lowercase/);
  });

  it("pulls what is missing or asked to be fresh, with the registry's credentials", async () => {
    world.addImage("base");
    await build(
      "FROM base\nFROM reg.example:5000/x\nENV A=1\n",
      {},
      {
        auths: { "https://reg.example:5000/v1/": { username: "me" } },
      },
    );
    expect(world.pulls).toEqual([{ reference: "reg.example:5000/x", auth: { username: "me" } }]);
    await build("FROM base\nENV A=1\n", {}, { pull: true, platform: { os: "linux", architecture: "amd64" } });
    expect(world.pulls.at(-1)).toEqual({ reference: "base", platform: { os: "linux", architecture: "amd64" } });
  });
});

describe("ONBUILD", () => {
  it("runs an image's triggers, unnumbered, and drops them", async () => {
    world.addImage("parent", { OnBuild: ["COPY . /src/", "RUN echo triggered"] });
    const image = await build("FROM parent\nUSER me\n", { "a.txt": "a" });
    expect(printed()).toContain("# Executing 2 build triggers\n ---> Running in ID\ntriggered\n");
    expect(printed()).toContain("Step 2/2 : USER me");
    expect(image.config.config?.OnBuild).toBeUndefined();
    expect(await filesIn(image)).toContain("/src/a.txt: a");
  });

  it("lets a trigger copy from a stage that nothing else needs", async () => {
    world.addImage("base");
    world.addImage("parent", { OnBuild: ["COPY --from=tools /tool /tool"] });
    const image = await build("FROM base AS tools\nRUN write tool t\nFROM parent\n");
    expect(await filesIn(image)).toEqual(["/tool: t"]);
  });
});

describe("RUN", () => {
  it("gets the stage's environment, arguments, user and directory, and the request's limits", async () => {
    world.addImage("base");
    const image = await build(
      'FROM base\nARG V\nENV E=1\nUSER me\nWORKDIR /w\nSHELL ["/bin/bash", "-ec"]\nRUN echo $V\nRUN --network=none ["prog", "a b"]\n',
      {},
      { buildArgs: { V: "val" }, shmSize: 5, extraHosts: ["h:1.2.3.4"], resources: { ...unlimited, memory: 7 } },
    );
    expect(world.created[0]).toMatchObject({
      internal: true,
      shmSize: 5,
      resources: { memory: 7 },
      network: { mode: "bridge", extraHosts: ["h:1.2.3.4"] },
      process: {
        cmd: ["/bin/bash", "-ec", "echo $V"],
        env: expect.arrayContaining(["E=1", "V=val"]),
        user: "me",
        workingDir: "/w",
      },
    });
    expect(world.created[1]).toMatchObject({ network: { mode: "none" }, process: { cmd: ["prog", "a b"] } });
    expect(history(image).slice(-2)).toEqual(["|1 V=val /bin/bash -ec echo $V", "|1 V=val prog a b"]);
  });

  it("runs heredocs: as a script, by their own interpreter, or left to the shell", async () => {
    world.addImage("base");
    await build(
      "FROM base\nRUN <<EOF\necho one\necho two\nEOF\nRUN <<-X\n\t#!/usr/bin/env python3\n\tprint(1)\nX\nRUN cat <<A >a && cat <<B >b\n1\nA\n2\nB\n",
    );
    expect(world.created.map(({ process }) => process.cmd?.at(-1))).toEqual([
      "echo one\necho two\n",
      "/dev/pipes/X",
      "cat <<A >a && cat <<B >b\n1\nA\n2\nB",
    ]);
    expect(world.created[1]?.mounts).toMatchObject([{ type: "bind", target: "/dev/pipes/X", readOnly: true }]);
  });
});

describe("COPY and ADD", () => {
  it.each<[string, string, readonly string[]]>([
    ["a file to a name", "COPY a.txt /x/y", ["/x/", "/x/y: A"]],
    ["a file to a directory", "COPY a.txt /x/", ["/x/", "/x/a.txt: A"]],
    ["a file to an existing directory", "WORKDIR /d\nCOPY a.txt .", ["/d/", "/d/a.txt: A"]],
    ["relative to the working directory", "WORKDIR /d\nCOPY a.txt sub/", ["/d/", "/d/sub/", "/d/sub/a.txt: A"]],
    ["a directory's contents", "COPY dir /x", ["/x/", "/x/b.md: B", "/x/sub/", "/x/sub/c.txt: C"]],
    ["wildcards", "COPY *.txt di?/s*/ /x/", ["/x/", "/x/a.txt: A", "/x/c.txt: C"]],
    ["several", "COPY a.txt dir/b.md /x/", ["/x/", "/x/a.txt: A", "/x/b.md: B"]],
    ["exclusions", "COPY --exclude=*.md --exclude=sub dir /x", ["/x/"]],
    [
      "parents",
      "COPY --parents dir/sub/c.txt a.txt /x/",
      ["/x/", "/x/a.txt: A", "/x/dir/", "/x/dir/sub/", "/x/dir/sub/c.txt: C"],
    ],
    ["parents behind a pivot", "COPY --parents dir/./sub/c.txt /x/", ["/x/", "/x/sub/", "/x/sub/c.txt: C"]],
    ["variables", "ENV N=a\nCOPY ${N}.txt /$N", ["/a: A"]],
    ["a heredoc", "ENV N=v\nCOPY <<one <<'two' /x/\n$N\none\n$N\ntwo", ["/x/", "/x/one: v\n", "/x/two: $N\n"]],
    ["an archive, unpacked by ADD", "ADD pack.tgz /x/", ["/x/", "/x/in/", "/x/in/f: F"]],
    ["a compressed file that is no archive", "ADD plain.gz /x/", expect.arrayContaining(["/x/"])],
  ])("copies %s", async (_what, instructions, expected) => {
    world.addImage("base");
    const files = {
      "a.txt": "A",
      "dir/b.md": "B",
      "dir/sub/c.txt": "C",
      "pack.tgz": gzipSync(await tarOf({ "in/f": "F" })),
      "plain.gz": gzipSync("just text"),
    };
    const image = await build(`FROM base\n${instructions}\n`, files);
    expect(await filesIn(image)).toEqual(expected);
  });

  it("copies an archive as it is with COPY", async () => {
    world.addImage("base");
    const image = await build("FROM base\nCOPY pack.tgz /x/\n", { "pack.tgz": gzipSync(await tarOf({ f: "F" })) });
    expect((await filesIn(image)).map((line) => line.split(":")[0])).toEqual(["/x/", "/x/pack.tgz"]);
  });

  it("takes out what .dockerignore names, and still reads the Dockerfile", async () => {
    world.addImage("base");
    const ignore = "*.md\n!keep.md\nnode_modules\nDockerfile\n.dockerignore\n";
    const files = { ".dockerignore": ignore, "x.md": "x", "keep.md": "k", "node_modules/m/i.js": "m", "src/a.js": "a" };
    const image = await build("FROM base\nCOPY . /\n", files);
    expect(await filesIn(image)).toEqual(["/keep.md: k", "/src/", "/src/a.js: a"]);
  });

  it("builds from a directory without touching it", async () => {
    world.addImage("base");
    const source = join(world.directory, "source");
    await mkdir(join(source, "sub"), { recursive: true });
    await writeFile(join(source, "dockerfile"), "FROM base\nCOPY . /\n");
    await writeFile(join(source, ".dockerignore"), "secret\n");
    await writeFile(join(source, "secret"), "s");
    await writeFile(join(source, "sub/a"), "a");
    await symlink("/etc/passwd", join(source, "sub/link"));
    const image = await world.builder.build(background(), request({ directory: source }), () => {});
    expect(await filesIn(image)).toEqual([
      "/.dockerignore: secret\n",
      "/dockerfile: FROM base\nCOPY . /\n",
      "/sub/",
      "/sub/a: a",
      "/sub/link",
    ]);
    expect(await readFile(join(source, "secret"), "utf8")).toBe("s");
    await rm(source, { recursive: true });
  });
});

describe("recovery", () => {
  it("removes what a killed engine's builds left", async () => {
    world.store.journal.begin("build.run", "dead", {});
    await mkdir(join(world.directory, "build/dead/context"), { recursive: true });
    await world.snapshotter.prepare(background(), "build-dead-1", "");
    await world.builder.recover(background());
    // The check after each test sees that all is gone.
  });
});

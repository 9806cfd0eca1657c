/** `RUN --mount` on the real kernel, through a whole engine. */
import { readdirSync, readFileSync, realpathSync, rmSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { connect, createServer } from "node:net";
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import { noProgress } from "../../../src/base/progress.ts";
import type { BuildRequest } from "../../../src/build/build-service.ts";
import { Engine } from "../../../src/daemon/engine.ts";
import { chainId } from "../../../src/images/chain-id.ts";
import { bareSpec } from "../../../src/instances/bare-spec.ts";
import type { InstanceRequest } from "../../../src/instances/instance-service.ts";
import type { ImageRecord } from "../../../src/schema/image.ts";
import { unlimited } from "../../../src/schema/resources.ts";
import { busyboxArchive } from "../../support/busybox-image.ts";
import { assertNothingLeft } from "../../support/leaks.ts";

const ctx = background();
const directory = mkdtempSync(join(realpathSync(tmpdir()), "berth-mounts-"));
const roots = { dataRoot: join(directory, "data"), runRoot: join(directory, "run") };
let engine: Engine;
let output = "";

beforeAll(async () => {
  engine = await Engine.open(roots);
  await engine.images.load(ctx, Readable.from([await busyboxArchive({ tags: ["base:1"] })]), noProgress);
});

afterAll(async () => {
  const { tag } = engine;
  await engine[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
  await assertNothingLeft({ tag, directory });
});

async function build(
  dockerfile: string,
  files: Readonly<Record<string, string>> = {},
  options: Partial<BuildRequest> = {},
): Promise<ImageRecord> {
  output = "";
  const archive = pack();
  for (const [name, content] of Object.entries({ Dockerfile: dockerfile, ...files })) {
    archive.entry({ name, uid: 1234, gid: 1234 }, content);
  }
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
    networkMode: "none",
    extraHosts: [],
    resources: unlimited,
    shmSize: 0,
    ulimits: [],
    squash: false,
    auths: {},
    ...options,
  };
  try {
    return await engine.builder.build(ctx, request, ({ stream }) => {
      output += stream ?? "";
    });
  } finally {
    expect(readdirSync(join(roots.dataRoot, "build"))).toEqual([]);
    expect(readdirSync(join(roots.dataRoot, "snapshots", "active"))).toEqual([]);
    const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
    expect(mounts.filter((line) => line.includes(roots.dataRoot))).toEqual([]);
  }
}

/** Names of all files in an image's layer, from the bottom (0 is the base's). */
async function filesOfLayer(image: ImageRecord, index: number): Promise<readonly string[]> {
  const chains = chainsOf(image);
  const list = (at: number) => readTree(chains[at] ?? "");
  const below = new Set(index === 0 ? [] : await list(index - 1));
  return (await list(index)).filter((path) => !below.has(path));
}

function chainsOf(image: ImageRecord): readonly string[] {
  const ids = image.config.rootfs.diff_ids;
  return ids.map((_, index) => chainId(ids.slice(0, index + 1)));
}

async function readTree(chain: string): Promise<readonly string[]> {
  const { record } = await engine.instances.create(ctx, throwAway(chain));
  try {
    return await engine.instances.withRootfs(ctx, record.id, async (root) =>
      readdirSync(root, { recursive: true }).map(String).sort(),
    );
  } finally {
    await engine.instances.remove(ctx, record.id, { force: true, volumes: true });
  }
}

function throwAway(chain: string): InstanceRequest {
  return {
    ...bareSpec,
    isolation: "container",
    name: "",
    image: "",
    process: { ...bareSpec.process, cmd: ["x"] },
    rootfsChainId: chain,
  };
}

describe("RUN --mount on the real kernel", () => {
  it("binds the context, a stage and an image, read-only, and leaves no mount point in the layer", async () => {
    const image = await build(
      `FROM base:1 AS tools
RUN mkdir -p /out/deep && echo made > /out/deep/file && ln -s deep/file /out/link && ln -s ../../etc /out/etc && chown 33:33 /out/deep
FROM base:1
WORKDIR /work
RUN --mount=target=. --mount=from=tools,source=/out,target=/deep/er/tools --mount=from=base:1,source=bin/busybox,target=/opt/busybox \
    cat a.txt sub/b && stat -c '%n %u:%g %a' a.txt /deep/er/tools/deep && ! touch /work/new 2>/dev/null && ! touch /deep/er/tools/new 2>/dev/null && \
    /opt/busybox echo from the image && cat /deep/er/tools/link && echo done > /result
RUN --mount=from=tools,source=/out/link,target=/linked --mount=from=tools,source=out/etc,target=/confined cat /linked && ls -A /confined
RUN --mount=target=/ctx,source=/sub/../../../a.txt cat /ctx
`,
      { "a.txt": "A\n", "sub/b": "B\n" },
    );
    expect(output).toContain("A\nB\na.txt 0:0 644\n/deep/er/tools/deep 33:33 755\nfrom the image\nmade\n");
    // The link leads to the stage's own directory, not to the engine's.
    expect(output).toContain("made\n ---> Removed");
    expect(await filesOfLayer(image, 2)).toEqual(["result"]);
    expect(image.config.rootfs.diff_ids).toHaveLength(3);
  });

  it("throws away what is written to a bind that may be written to", async () => {
    const image = await build(
      `FROM base:1 AS other
RUN echo theirs > /file
FROM base:1
RUN --mount=target=/c,rw --mount=from=other,target=/o,rw echo more >> /c/a && echo new > /c/sub/new && rm /o/file && echo x > /o/etc/x && cat /c/a /c/sub/new
RUN --mount=target=/c --mount=from=other,target=/o cat /c/a /o/file && ! test -e /c/sub/new && ! test -e /o/etc/x
`,
      { a: "A\n", "sub/b": "" },
    );
    expect(output).toContain("A\nmore\nnew\n");
    expect(output).toContain("A\ntheirs\n");
    expect(image.config.rootfs.diff_ids).toHaveLength(1);
  });

  it("runs a step again when what is mounted has changed, and not when something else has", async () => {
    const dockerfile = "FROM base:1\nRUN --mount=source=src,target=/src cat /src/a > /copy\n";
    await build(dockerfile, { "src/a": "1", other: "x" });
    await build(dockerfile, { "src/a": "1", other: "y" });
    expect(output).toContain("Using cache");
    await build(dockerfile, { "src/a": "2", other: "y" });
    expect(output).not.toContain("Using cache");
  });

  it("keeps a cache's directory for the next build, out of every layer", async () => {
    const step = (text: string): string =>
      `FROM base:1\nRUN --mount=type=cache,target=/var/cache/x echo ${text} >> /var/cache/x/log; cat /var/cache/x/log > /seen; stat -c '%u:%g %a' /var/cache/x\n`;
    await build(step("one"));
    expect(output).toContain("0:0 755\n");
    const image = await build(step("two"));
    expect(await filesOfLayer(image, 1)).toEqual(["seen"]);
    await build(
      `FROM base:1\nRUN --mount=type=cache,id=/var/cache/x,target=/elsewhere,ro cat /elsewhere/log; ! touch /elsewhere/y\n`,
    );
    expect(output).toContain("one\ntwo\n");
    // Owners make another one, with this owner.
    await build(
      `FROM base:1\nRUN --mount=type=cache,target=/var/cache/x,uid=7,gid=8,mode=1770 ls /var/cache/x; stat -c '%u:%g %a' /var/cache/x\n`,
    );
    expect(output).toContain("7:8 1770\n");
    expect(output).not.toContain("log");
  });

  it("begins a cache with a stage's files", async () => {
    await build(`FROM base:1 AS seed
RUN mkdir /s && echo seeded > /s/a && chown 9:9 /s
FROM base:1
RUN --mount=type=cache,from=seed,source=/s,target=/c cat /c/a; echo more >> /c/a; stat -c %u:%g /c
RUN --mount=type=cache,from=seed,source=/s,target=/c cat /c/a
`);
    expect(output).toContain("seeded\n9:9\n");
    expect(output).toContain("seeded\nmore\n");
  });

  it("counts caches, and takes them in a prune", async () => {
    await build(
      "FROM base:1\nRUN --mount=type=cache,target=/big dd if=/dev/zero of=/big/x bs=1M count=4 2>/dev/null\n",
    );
    const [found] = (await engine.builder.cacheDirectories(ctx)).filter(({ description }) =>
      description.includes("/big"),
    );
    expect(found?.bytes).toBeGreaterThanOrEqual(4 << 20);
    await engine[Symbol.asyncDispose]();
    engine = await Engine.open(roots);
    const ids = (await engine.builder.cacheDirectories(ctx)).map(({ id }) => id);
    expect(ids).toContain(found?.id);
    const { deleted, reclaimedBytes } = await engine.builder.pruneCache(ctx, {
      all: false,
      filters: { type: ["exec.cachemount"] },
    });
    expect(deleted.toSorted()).toEqual(ids.toSorted());
    expect(reclaimedBytes).toBeGreaterThanOrEqual(4 << 20);
    expect(readdirSync(join(roots.dataRoot, "build-cache-mounts"))).toEqual(["drafts"]);
    await build("FROM base:1\nRUN --mount=type=cache,target=/big ls /big; echo empty\n");
    expect(output).toContain("Running in");
    expect(output).not.toContain("x\n");
  });

  it("mounts a tmpfs of the size that was asked for, from which programs run", async () => {
    const image = await build(`FROM base:1
RUN --mount=type=tmpfs,target=/t/mp,size=2m grep ' /t/mp ' /proc/mounts && cp /bin/busybox /t/mp/ && /t/mp/busybox echo ran && ! dd if=/dev/zero of=/t/mp/x bs=1M count=3 2>/dev/null
`);
    expect(output).toMatch(/tmpfs \/t\/mp tmpfs .*size=2048k/);
    expect(output).toContain("ran\n");
    expect(image.config.rootfs.diff_ids).toHaveLength(1);
  });

  it("gives a step the client's secrets, which nothing keeps", async () => {
    const value = "s3cr3t-of-the-test";
    const secrets = {
      get: async (_ctx: unknown, id: string) => (id === "token" ? Buffer.from(value) : undefined),
    };
    const image = await build(
      `FROM base:1
RUN --mount=type=secret,id=token --mount=type=secret,id=token,target=/root/.t,mode=0440,uid=5,gid=6 --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=none \
    test "$(cat /run/secrets/token)" = "$TOKEN" && stat -c '%u:%g %a' /run/secrets/token /root/.t && echo \${#TOKEN} && grep ' /root/.t ' /proc/mounts && ! test -e /run/secrets/none
RUN test -z "$TOKEN" && ! test -e /run/secrets
`,
      {},
      { secrets },
    );
    expect(output).toContain("0:0 400\n5:6 440\n18\ntmpfs /root/.t tmpfs ro");
    expect(output).not.toContain(value);
    expect(JSON.stringify(image)).not.toContain(value);
    expect(image.config.rootfs.diff_ids).toHaveLength(1);
    for (const file of filesBelow(roots.dataRoot)) expect(readFileSync(file).includes(value), file).toBe(false);
    await expect(
      build("FROM base:1\nRUN --mount=type=secret,id=none,required true\n", {}, { secrets }),
    ).rejects.toThrow("secret none: not found");
    await expect(build("FROM base:1\nRUN --mount=type=secret,id=token true\n")).rejects.toThrow(
      "RUN --mount=type=secret needs docker buildx",
    );
  });

  it("leads a step to the client's SSH agent", async () => {
    const agent = createServer((socket) => socket.on("data", (data) => socket.end(`answer to ${String(data)}`)));
    const path = join(directory, "agent.sock");
    await new Promise<void>((resolve) => void agent.listen(path, resolve));
    const sshAgents: NonNullable<BuildRequest["sshAgents"]> = {
      has: async (_ctx, id) => id === "default",
      connect: async (_ctx, _id, connection) => {
        const far = connect(path);
        connection.pipe(far).pipe(connection);
        await new Promise((resolve) => connection.once("close", resolve));
      },
    };
    try {
      await build(
        `FROM base:1
RUN --mount=type=ssh,mode=0666 --mount=type=ssh,id=none stat -c '%a' $SSH_AUTH_SOCK && echo $SSH_AUTH_SOCK && echo ask | nc local:$SSH_AUTH_SOCK; ls /run/buildkit
RUN test -z "$SSH_AUTH_SOCK" && ! test -e /run
`,
        {},
        { sshAgents },
      );
      expect(output).toContain("666\n/run/buildkit/ssh_agent.0\n");
      expect(output).toContain("ssh_agent.0\n ---> Removed");
    } finally {
      agent.close();
    }
  });

  it("names what is missing before anything runs", async () => {
    const refused = (dockerfile: string) => expect(build(dockerfile, { a: "" })).rejects;
    await refused("FROM base:1\nRUN --mount=source=b,target=/b true\n").toThrow('cannot mount /b: "b": not found');
    await refused("FROM base:1\nRUN --mount=target=/ true\n").toThrow('invalid mount target "/"');
    await refused("FROM base:1\nRUN --mount=target=/x --mount=type=tmpfs,target=/y/../x true\n").toThrow(
      'two mounts of one RUN have the target "/x"',
    );
    await refused("FROM base:1\nRUN --mount=type=cach,target=/x true\n").toThrow("dockerfile parse error on line 2");
  });
});

function filesBelow(root: string): readonly string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

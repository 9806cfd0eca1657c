/** Builds on the real kernel: containers for RUN, overlay snapshots, layers, through a whole engine. */
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pack } from "tar-stream";
import { buffer, text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { background, withSignal } from "../../../src/base/op-context.ts";
import { noProgress } from "../../../src/base/progress.ts";
import type { BuildRequest } from "../../../src/build/build-service.ts";
import { BuildCommandError } from "../../../src/build/errors.ts";
import { Engine } from "../../../src/daemon/engine.ts";
import type { ImageRecord } from "../../../src/schema/image.ts";
import { unlimited } from "../../../src/schema/resources.ts";
import { busyboxArchive } from "../../support/busybox-image.ts";
import { EngineProcess } from "../../support/engine-process.ts";
import { assertNothingLeft, tracesOf } from "../../support/leaks.ts";

const ctx = background();
const directory = mkdtempSync(join(realpathSync(tmpdir()), "berth-build-"));
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

function request(context: BuildRequest["context"], options: Partial<BuildRequest>): BuildRequest {
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
    networkMode: "none",
    extraHosts: [],
    resources: unlimited,
    shmSize: 0,
    ulimits: [],
    squash: false,
    auths: {},
    ...options,
  };
}

async function tarOf(files: Readonly<Record<string, string | Buffer>>): Promise<Buffer> {
  const archive = pack();
  for (const [name, content] of Object.entries(files)) archive.entry({ name, uid: 1234, gid: 1234 }, content);
  archive.finalize();
  return await buffer(archive);
}

async function build(
  dockerfile: string,
  files: Readonly<Record<string, string | Buffer>> = {},
  options: Partial<BuildRequest> = {},
): Promise<ImageRecord> {
  output = "";
  const tar = Readable.from([await tarOf({ Dockerfile: dockerfile, ...files })]);
  const image = await engine.builder.build(ctx, request({ tar }, options), ({ stream }) => {
    output += stream ?? "";
  });
  expectNoWorkLeft();
  return image;
}

/** Between builds nothing of theirs is there but images. */
function expectNoWorkLeft(): void {
  expect(readdirSync(join(roots.dataRoot, "build"))).toEqual([]);
  expect(readdirSync(join(roots.dataRoot, "snapshots", "active"))).toEqual([]);
  const mounts = execFileSync("cat", ["/proc/self/mounts"], { encoding: "utf8" });
  expect(mounts.split("\n").filter((line) => line.includes(roots.dataRoot))).toEqual([]);
}

describe("a build on the real kernel", () => {
  it("runs every kind of step; commands see what was copied, with its owners and modes", async () => {
    const inner = await tarOf({ "in/file": "from the archive" });
    const image = await build(
      `ARG BASE=base:1
FROM $BASE AS tools
WORKDIR /out
RUN echo made > made && chown 33:33 made && ln -s made link && chmod 4755 made

FROM base:1
ENV GREETING="hello world"
COPY --chown=www:audio --chmod=640 a.txt /copied/
COPY sub /copied/sub
COPY --from=tools /out /tools/
COPY --from=base:1 /etc/group /groups
ADD inner.tar /added/
COPY <<-"EOF" /etc/motd
	\${GREETING} is not expanded
	EOF
RUN stat -c '%n %u:%g %a' /copied/a.txt /copied/sub/b /tools/made /tools/link /added/in/file
RUN grep -q audio /groups && test "$GREETING" = "hello world" && cat /copied/a.txt /added/in/file && cat /etc/motd
RUN <<EOF
set -e
ln -s /copied /alias
rm /copied/sub/b
EOF
COPY a.txt /alias/second
USER www
RUN id -un; cat /copied/second; ls /copied/sub
WORKDIR /home/www
EXPOSE 80
CMD ["sh", "-c", "echo run"]
`,
      { "a.txt": "A\n", "sub/b": "B", "inner.tar": inner },
      { tags: ["it:all"], labels: { made: "here" } },
    );
    expect(output).toContain(`/copied/a.txt 33:29 640
/copied/sub/b 0:0 644
/tools/made 33:33 4755
/tools/link 0:0 777
/added/in/file 1234:1234 644
`);
    expect(output).toContain("A\nfrom the archive${GREETING} is not expanded\n");
    expect(output).toContain("www\nA\n");
    expect(image.config.config).toMatchObject({ User: "www", WorkingDir: "/home/www", ExposedPorts: { "80/tcp": {} } });
    expect(engine.images.history("it:all").map(({ size }) => size > 0)).toContain(true);
    expect(engine.images.resolve("it:all").id).toBe(image.id);
    expect(engine.instances.list()).toEqual([]);
  });

  it("makes no layer for a step that changed nothing, mount points of the runtime included", async () => {
    const image = await build("FROM base:1\nRUN true\nWORKDIR /etc\nRUN cat /etc/hosts > /dev/null\n");
    expect(image.layers).toHaveLength(1);
    expect(image.config.history?.slice(1).map((entry) => entry.empty_layer)).toEqual([true, true, true]);
  });

  it("makes an image from scratch, whose command needs no shell", async () => {
    const image = await build('FROM scratch\nCOPY busybox /bin/\nRUN ["/bin/busybox", "echo", "bare"]\n', {
      busybox: execFileSync("cat", ["/bin/busybox"], { maxBuffer: 1 << 26 }),
    }).catch((error: unknown) => error);
    // tar-stream writes mode 0644: it can't be run, and the engine says so.
    expect(image).toMatchObject({ message: expect.stringContaining("/bin/busybox") });
    const mended = await build('FROM scratch\nCOPY --chmod=755 busybox /bin/\nRUN ["/bin/busybox", "echo", "bare"]\n', {
      busybox: execFileSync("cat", ["/bin/busybox"], { maxBuffer: 1 << 26 }),
    });
    expect(output).toContain("bare\n");
    expect(mended.layers).toHaveLength(1);
  });

  it("fails as the command does, and leaves nothing", async () => {
    const images = engine.images.list({ intermediate: true }).length;
    const failure = await build("FROM base:1\nRUN echo before; exit 42\n").catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(BuildCommandError);
    expect(failure).toMatchObject({
      exitCode: 42,
      message: "The command '/bin/sh -c echo before; exit 42' returned a non-zero code: 42",
    });
    expect(output).toContain("before\n");
    expectNoWorkLeft();
    expect(engine.images.list({ intermediate: true })).toHaveLength(images);
  });

  it("says what is wrong when the command can't be run", async () => {
    await expect(build('FROM base:1\nRUN ["/no/such/program"]\n')).rejects.toThrow(/no\/such\/program/);
    expectNoWorkLeft();
  });

  it("stops a running step when the client goes away", async () => {
    const client = new AbortController();
    const tar = Readable.from([await tarOf({ Dockerfile: "FROM base:1\nRUN echo started; sleep 100\n" })]);
    const building = engine.builder.build(withSignal(ctx, client.signal), request({ tar }, {}), ({ stream }) => {
      if (stream === "started\n") client.abort();
    });
    await expect(building).rejects.toMatchObject({ code: "BUILD_CANCELLED" });
    expectNoWorkLeft();
  });

  it("gives a step a network, limits and hosts", async () => {
    await build(
      "FROM base:1\nRUN ip -o link | grep -c eth0; grep extra /etc/hosts; df -k /dev/shm | tail -1\n",
      {},
      {
        networkMode: "default",
        extraHosts: ["extra:192.0.2.7"],
        shmSize: 8 << 20,
        resources: { ...unlimited, memory: 64 << 20 },
      },
    );
    expect(output).toMatch(/\n1\n192\.0\.2\.7\s+extra\n.*8192/);
  });

  it("downloads with ADD, keeping the server's time and checking the digest", async () => {
    const server = createServer((_request, response) => {
      response.setHeader("last-modified", "Tue, 02 Jan 2024 03:04:05 GMT");
      response.end("downloaded");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/some%20file`;
      const digest = createHash("sha256").update("downloaded").digest("hex");
      await build(`FROM base:1\nADD --checksum=sha256:${digest} ["${url}", "/dl/"]\nRUN stat -c '%n %a %Y' /dl/*\n`);
      expect(output).toContain("/dl/some file 600 1704164645\n");
      const wrong = `sha256:${"0".repeat(64)}`;
      await expect(build(`FROM base:1\nADD --checksum=${wrong} ${url} /x\n`)).rejects.toThrow(/digest mismatch/);
      expectNoWorkLeft();
    } finally {
      server.close();
    }
  });

  it("refuses a hostile context, and keeps links inside it", async () => {
    await expect(build("FROM base:1\n", { "../../escape": "x" })).rejects.toMatchObject({
      code: "ARCHIVE_ENTRY_REFUSED",
    });
    expectNoWorkLeft();
    const archive = pack();
    archive.entry({ name: "Dockerfile" }, "FROM base:1\nCOPY link /stolen\n");
    archive.entry({ name: "link", type: "symlink", linkname: "../../../../../../../etc/shadow" });
    archive.finalize();
    const tar = Readable.from([await buffer(archive)]);
    await expect(engine.builder.build(ctx, request({ tar }, {}), noProgress)).rejects.toThrow(
      "COPY failed: file not found in build context",
    );
    expectNoWorkLeft();
  });

  it("reads a directory, a subdirectory's Dockerfile and its own .dockerignore", async () => {
    const source = join(directory, "source");
    for (const [name, content] of Object.entries({
      "docker/web": "FROM base:1\nCOPY . /src\nRUN find /src -type f | sort\n",
      "docker/web.dockerignore": "secret\n",
      secret: "s",
      "a/b": "b",
    })) {
      mkdirSync(dirname(join(source, name)), { recursive: true });
      writeFileSync(join(source, name), content);
    }
    output = "";
    await engine.builder.build(
      ctx,
      request({ directory: source }, { dockerfile: "docker/web" }),
      ({ stream }) => void (output += stream ?? ""),
    );
    expect(output).toContain("/src/a/b\n/src/docker/web\n/src/docker/web.dockerignore\n ");
    rmSync(source, { recursive: true });
  });

  it("runs one build's steps once when two ask for them at the same time", async () => {
    const start = async (): Promise<ImageRecord> => {
      const tar = Readable.from([await tarOf({ Dockerfile: "FROM base:1\nRUN date +%N > /when; sleep 0.3\n" })]);
      return await engine.builder.build(ctx, request({ tar }, {}), noProgress);
    };
    const [one, other] = await Promise.all([start(), start()]);
    expect(one.id).toBe(other.id);
    expectNoWorkLeft();
  });
});

describe("across engines", () => {
  it("keeps its cache, and removes what a killed engine left", async () => {
    const dockerfile = "FROM base:1\nRUN echo cached > /x\nCOPY a /a\n";
    const first = await build(dockerfile, { a: "1" });
    await engine[Symbol.asyncDispose]();
    // As a kill -9 in the middle of a build leaves it.
    mkdirSync(join(roots.dataRoot, "build", "0123456789ab", "context"), { recursive: true });
    engine = await Engine.open(roots);
    expect(existsSync(join(roots.dataRoot, "build", "0123456789ab"))).toBe(false);
    const second = await build(dockerfile, { a: "1" });
    expect(second.id).toBe(first.id);
    expect(output.match(/Using cache/g)).toHaveLength(2);
  });

  it("forgets steps when the cache is pruned", async () => {
    const dockerfile = "FROM base:1\nRUN dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null\n";
    const image = await build(dockerfile);
    await engine.images.remove(ctx, image.id, { force: false, noPrune: false });
    const { deleted } = await engine.builder.pruneCache(ctx, { all: true, filters: {} });
    expect(deleted.length).toBeGreaterThan(0);
    await build(dockerfile);
    expect(output).not.toContain("Using cache");
  });

  it("cleans up after an engine that was killed in the middle of a step", async () => {
    const killed = await EngineProcess.start();
    try {
      using client = killed.client();
      const archive = Readable.from([await busyboxArchive({ tags: ["base:1"] })]);
      const loaded = await client.stream("POST", "/images/load", { body: archive });
      expect(await text(loaded.body)).toContain("base:1");
      const body = Readable.from([
        await tarOf({ Dockerfile: "FROM base:1\nRUN echo one > /1\nRUN echo started; sleep 300\n" }),
      ]);
      const answer = await client.stream("POST", "/build", {
        query: { networkmode: "none", rm: true },
        headers: { "Content-Type": "application/x-tar" },
        body,
      });
      const seen = Promise.withResolvers<void>();
      answer.body.on("data", (chunk: Buffer) => {
        if (chunk.toString().includes('"started')) seen.resolve();
      });
      answer.body.on("error", () => {});
      await seen.promise;
      await killed.crash();
      expect(readdirSync(join(killed.dataRoot, "build"))).toHaveLength(1);
      await killed.boot();
      expect(readdirSync(join(killed.dataRoot, "build"))).toEqual([]);
      expect(readdirSync(join(killed.dataRoot, "snapshots", "active"))).toEqual([]);
      expect(
        tracesOf(killed).filter(
          (trace) => /mount|process|cgroup .*[0-9a-f]{64}/.test(trace) && !trace.includes(" daemon "),
        ),
      ).toEqual([]);
    } finally {
      await killed.stop();
      rmSync(killed.directory, { recursive: true, force: true });
      await assertNothingLeft(killed);
    }
  });
});

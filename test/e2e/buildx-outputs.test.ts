/** Where the real docker buildx lets results go: a directory, archives on its side, registries. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
} from "node:fs";
import { rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { BuildxClient } from "../support/buildx-client.ts";
import { ComposeClient } from "../support/compose-client.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { passwordProtected, startRegistry } from "../support/registry.ts";
import { runCommand } from "../support/run-command.ts";

describe("docker buildx, with outputs other than an image of the engine", () => {
  const closers = new AsyncDisposableStack();
  let engine: EngineProcess;
  let buildx: BuildxClient;
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(realpathSync(tmpdir()), "berth-outputs-"));
    closers.defer(() => rmSync(directory, { recursive: true }));
    engine = await EngineProcess.start();
    closers.defer(async () => {
      await engine.remove();
      await assertNothingLeft(engine);
    });
    buildx = new BuildxClient(engine);
    const archive = await busyboxArchive({ tags: ["busybox:latest"] });
    expect(await runCommand("docker", ["load"], { env: { DOCKER_HOST: engine.host }, input: archive })).toMatchObject({
      code: 0,
    });
  });
  afterAll(async () => {
    await closers.disposeAsync();
  });

  const context = (name: string, dockerfile: string): string => {
    const at = join(directory, name);
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, "Dockerfile"), dockerfile);
    return at;
  };
  const build = async (...words: readonly string[]) => {
    const result = await buildx.run("build", ...words);
    expect({ words, ...result }).toMatchObject({ code: 0 });
    return result;
  };

  /** Files of every kind, some of which a later layer takes away. */
  const tree = `FROM busybox AS made
RUN mkdir -p /out/sub /out/gone && cd /out \\
 && echo plain > a && chmod 0640 a && chown 12:34 a && touch -d '2001-02-03 04:05:06' a \\
 && echo run > tool && chmod 4755 tool && ln -s ../out/a sub/link && ln -s /nowhere dangling && ln a sub/hard \\
 && mkfifo pipe && echo x > gone/x && echo 'ünïcode' > 'sub/né e' && : > empty && chmod 1777 sub \\
 && i=0; while [ $i -lt 300 ]; do echo $i > sub/f$i; i=$((i+1)); done
FROM scratch
COPY --from=made /out /
`;

  it("writes the files of the result into a directory, without those of an image", async () => {
    const at = context("local", tree);
    const to = join(directory, "local-out");
    mkdirSync(to);
    writeFileSync(join(to, "kept"), "was here");
    const { stderr } = await build("--output", to, at);
    expect(stderr).toMatch(/exporting to client directory/);
    expect(stderr).toMatch(/copying files/);
    expect(readFileSync(join(to, "a"), "utf8")).toBe("plain\n");
    expect(statSync(join(to, "a")).mode & 0o7777).toBe(0o640);
    expect(statSync(join(to, "a")).mtime.toISOString()).toBe("2001-02-03T04:05:06.000Z");
    expect(statSync(join(to, "tool")).mode & 0o7777).toBe(0o4755);
    expect(statSync(join(to, "sub")).mode & 0o7777).toBe(0o1777);
    expect(readlinkSync(join(to, "sub/link"))).toBe("../out/a");
    expect(readlinkSync(join(to, "dangling"))).toBe("/nowhere");
    expect(statSync(join(to, "sub/hard")).ino).toBe(statSync(join(to, "a")).ino);
    expect(lstatSync(join(to, "pipe")).isFIFO()).toBe(true);
    expect(readFileSync(join(to, "sub/né e"), "utf8")).toBe("ünïcode\n");
    expect(statSync(join(to, "empty")).size).toBe(0);
    expect(readdirSync(join(to, "sub"))).toHaveLength(303);
    for (let i = 0; i < 300; i++) expect(readFileSync(join(to, `sub/f${i}`), "utf8")).toBe(`${i}\n`);
    expect(readFileSync(join(to, "kept"), "utf8")).toBe("was here");
    expect((await engine.docker("images", "--quiet", "--filter", "dangling=true")).stdout).toBe("");
  });

  it("leaves out what a later layer took away", async () => {
    const at = context("whiteouts", "FROM busybox\nRUN mkdir /d && echo a > /d/a && echo b > /d/b\nRUN rm -r /d/a\n");
    const to = join(directory, "whiteouts-out");
    await build("--output", `type=local,dest=${to}`, at);
    expect(readdirSync(join(to, "d"))).toEqual(["b"]);
    expect(existsSync(join(to, "bin/sh"))).toBe(true);
  });

  it("writes a tar, to a file and to standard output", async () => {
    const at = context("tar", tree);
    const file = join(directory, "out.tar");
    await build("--output", `type=tar,dest=${file}`, at);
    const listed = execFileSync("tar", ["--numeric-owner", "-tvf", file], { encoding: "utf8" });
    expect(listed).toMatch(/^-rw-r----- 12\/34 +6 2001-02-03 \d\d:05 a$/m);
    expect(listed).toMatch(/^-rwsr-xr-x 0\/0 .* tool$/m);
    expect(listed).toMatch(/ sub\/hard link to a$/m);
    expect(listed).toMatch(/ dangling -> \/nowhere$/m);
    const { stdout } = await build("--output", "-", context("small", "FROM scratch\nCOPY Dockerfile /x\n"));
    expect(execFileSync("tar", ["-xOf", "-", "x"], { input: Buffer.from(stdout, "utf8"), encoding: "utf8" })).toBe(
      "FROM scratch\nCOPY Dockerfile /x\n",
    );
  });

  it("writes archives of the image that others read", async () => {
    const at = context("archives", "FROM busybox\nRUN echo in a layer > /made\nCMD echo from $0\n");
    const oci = join(directory, "oci.tar");
    const docker = join(directory, "docker.tar");
    // Several outputs of one build.
    const metadata = join(directory, "archives.json");
    const told = ["--metadata-file", metadata];
    await build(
      ...told,
      "-t",
      "archived:1",
      "--output",
      `type=oci,dest=${oci}`,
      "--output",
      `type=docker,dest=${docker}`,
      at,
    );
    expect((await engine.docker("images", "--quiet", "archived")).stdout).toBe("");
    for (const source of [`oci-archive:${oci}:1`, `docker-archive:${docker}:archived:1`]) {
      const inspected = JSON.parse(execFileSync("skopeo", ["inspect", "--config", source], { encoding: "utf8" }));
      expect(inspected.config.Cmd).toEqual(["/bin/sh", "-c", "echo from $0"]);
      execFileSync("skopeo", ["copy", source, `dir:${join(directory, "copied")}`], { stdio: "pipe" });
    }
    const { Digest: digest } = JSON.parse(
      execFileSync("skopeo", ["inspect", `oci-archive:${oci}:1`], { encoding: "utf8" }),
    );
    expect(JSON.parse(readFileSync(metadata, "utf8"))).toMatchObject({ "containerimage.digest": digest });
    await engine.docker("load", "-i", docker);
    expect((await engine.docker("run", "--rm", "archived:1", "cat", "/made")).stdout).toBe("in a layer\n");
  });

  it("says what the client's disk said", async () => {
    const at = context("refused", "FROM scratch\nCOPY Dockerfile /x\n");
    const file = join(directory, "a-file");
    writeFileSync(file, "");
    const { code, stderr } = await buildx.run("build", "--output", `type=local,dest=${join(file, "below")}`, at);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/not a directory/);
    for (const [output, reason] of [
      ["type=oci,tar=false,dest=/nowhere", /tar=false is not supported/],
      ["type=image,compression=zstd", /compression=zstd is not supported/],
      ["type=local,platform-split=true,dest=/nowhere", /platform-split=true is not supported/],
    ] as const) {
      expect((await buildx.run("build", "--output", output, at)).stderr).toMatch(reason);
    }
  });

  it("pushes, with the client's credentials", async () => {
    await using open = await startRegistry();
    await using closed = await startRegistry(passwordProtected);
    const at = context("push", "FROM busybox\nRUN echo pushed > /made\n");
    const names = [`${open.host}/a:1`, `${closed.host}/b:2`];
    const metadata = join(directory, "push.json");
    const iid = join(directory, "push.iid");
    const tags = names.flatMap((name) => ["-t", name]);
    const refused = await buildx.run("build", "--push", ...tags, at);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/authorization failed|unauthorized|no basic auth/i);
    const credentials = Buffer.from("bob:s3cret").toString("base64");
    const auths = JSON.stringify({ auths: { [closed.host]: { auth: credentials } } });
    mkdirSync(join(engine.directory, "buildx-config"), { recursive: true });
    writeFileSync(join(engine.directory, "buildx-config", "config.json"), auths);
    await build("--push", ...tags, "--metadata-file", metadata, "--iidfile", iid, at);
    const { "containerimage.digest": digest, "containerimage.config.digest": config } = JSON.parse(
      readFileSync(metadata, "utf8"),
    );
    expect(readFileSync(iid, "utf8")).toBe(config);
    for (const name of names) {
      const words = ["inspect", "--tls-verify=false", "--creds", "bob:s3cret", "--format", "{{.Digest}}"];
      expect(execFileSync("skopeo", [...words, `docker://${name}`], { encoding: "utf8" }).trim()).toBe(digest);
    }
  });

  it("takes other contexts by their names: directories, images, a stage's stand-in", async () => {
    const at = context("named", "FROM base\nCOPY --from=lib /a /lib/\nCOPY --from=tool /bin/true /tool\nCOPY own /\n");
    writeFileSync(join(at, "own"), "own\n");
    const lib = join(directory, "named-lib");
    mkdirSync(lib);
    writeFileSync(join(lib, "a"), "from the directory\n");
    writeFileSync(join(lib, "ignored"), "x");
    writeFileSync(join(lib, ".dockerignore"), "ignored\n");
    const contexts = ["base=docker-image://busybox", `lib=${lib}`, "tool=docker-image://busybox"];
    const words = contexts.flatMap((value) => ["--build-context", value]);
    const { stderr } = await build(...words, "-t", "named:1", at);
    expect(stderr).toMatch(/\[context lib\] load from client/);
    expect((await engine.docker("run", "--rm", "named:1", "cat", "/lib/a", "/own")).stdout).toBe(
      "from the directory\nown\n",
    );
    // A directory as what a build starts from, and instead of a stage.
    const from = context(
      "from-directory",
      "FROM docker.io/library/busybox:latest AS lib\nRUN exit 1\nFROM lib\nCMD x\n",
    );
    const to = join(directory, "from-directory-out");
    await build("--build-context", `lib=${lib}`, "--output", to, from);
    expect(readdirSync(to).toSorted()).toEqual([".dockerignore", "a"]);
  });

  it("takes another target's result as a context, and Compose's contexts", async () => {
    const at = context("dependent", "FROM base\nCOPY --from=lib a /a\nCMD cat /a /b\n");
    mkdirSync(join(at, "lib"));
    writeFileSync(join(at, "lib", "a"), "of the directory\n");
    const base = { context: at, "dockerfile-inline": "FROM busybox\nRUN echo of the other target > /b\n" };
    const app = { context: at, contexts: { base: "target:base", lib: join(at, "lib") }, tags: ["dependent:1"] };
    writeFileSync(join(at, "bake.json"), JSON.stringify({ target: { base, app } }));
    const { code, stderr } = await buildx.run("bake", "-f", join(at, "bake.json"), "app");
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const files = "of the directory\nof the other target\n";
    expect((await engine.docker("run", "--rm", "dependent:1")).stdout).toBe(files);
    const project = join(directory, "project");
    mkdirSync(project);
    const contexts = { base: "docker-image://dependent:1", lib: join(at, "lib") };
    const services = { app: { image: "composed:1", build: { context: at, additional_contexts: contexts } } };
    writeFileSync(join(project, "compose.yaml"), JSON.stringify({ services }));
    await new ComposeClient(engine, project, { DOCKER_BUILDKIT: "1" }).output("build");
    expect((await engine.docker("run", "--rm", "composed:1")).stdout).toBe(files);
  });

  it("builds single stages again", async () => {
    const at = context("fresh", "FROM busybox AS one\nRUN echo first ran\nFROM one\nRUN echo second ran\n");
    await build(at);
    const { stderr } = await build("--no-cache-filter", "stage-1", at);
    expect(stderr).toMatch(/second ran\n/);
    expect(stderr).not.toMatch(/\d first ran\n/);
  });

  it("undoes everything when the client goes away in the middle of a large file", async () => {
    const at = context("large", "FROM busybox\nRUN dd if=/dev/zero of=/large bs=1M count=1 seek=300 2>/dev/null\n");
    await build(at);
    const to = join(directory, "large-out");
    const client = buildx.start("build", "--output", to, at);
    const exited = once(client, "exit");
    await expect.poll(() => existsSync(join(to, "large")) || client.exitCode !== null, { timeout: 30_000 }).toBe(true);
    client.kill("SIGKILL");
    await exited;
    await expect.poll(() => readdirSync(join(engine.directory, "data", "build")).length, { timeout: 20_000 }).toBe(0);
    await expect
      .poll(() => readFileSync("/proc/self/mountinfo", "utf8").includes(join(engine.directory, "data")), {
        timeout: 20_000,
      })
      .toBe(false);
  });
});

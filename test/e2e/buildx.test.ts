/** The real docker buildx, as it is, against the engine: builds, their cache, failures, cancellation, several at once. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { BuildxClient } from "../support/buildx-client.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { runCommand } from "../support/run-command.ts";

describe("docker buildx", () => {
  const closers = new AsyncDisposableStack();
  let engine: EngineProcess;
  let buildx: BuildxClient;
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(realpathSync(tmpdir()), "berth-buildx-"));
    closers.defer(() => rmSync(directory, { recursive: true }));
    engine = await EngineProcess.start();
    closers.defer(async () => {
      await engine.remove();
      await assertNothingLeft(engine);
    });
    buildx = new BuildxClient(engine);
    const archive = await busyboxArchive({ tags: ["busybox:latest"] });
    const env = { DOCKER_HOST: engine.host };
    expect(await runCommand("docker", ["load"], { env, input: archive })).toMatchObject({ code: 0 });
  });
  afterAll(async () => {
    await closers.disposeAsync();
  });

  const context = (name: string, files: Readonly<Record<string, string>>): string => {
    const at = join(directory, name);
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(join(at, path, ".."), { recursive: true });
      writeFileSync(join(at, path), content);
    }
    return at;
  };
  const docker = async (...words: readonly string[]) => (await engine.docker(...words)).stdout.trim();

  it("builds from a directory, shows each step, and finds them in the cache", async () => {
    const at = context("plain", {
      Dockerfile:
        "FROM busybox\nARG WHO=nobody\nWORKDIR /app\nCOPY . .\nRUN echo built for $WHO && ls > /list\nCMD cat /list sub/a\n",
      "sub/a": "content of a\n",
      "left/out": "x",
      ".dockerignore": "left\n",
    });
    const ids = join(directory, "iid");
    const metadata = join(directory, "metadata.json");
    const args = ["build", "--build-arg", "WHO=you", "--label", "from=test", "-t", "plain:1", "--iidfile", ids];
    const first = await buildx.run(...args, "--metadata-file", metadata, at);
    expect(first).toMatchObject({ code: 0 });
    for (const line of [
      /\[internal\] load build definition from Dockerfile/,
      /\[1\/4\] FROM docker.io\/library\/busybox:latest/,
      /\[3\/4\] COPY \. \./,
      /built for you/,
      /naming to docker.io\/library\/plain:1/,
    ]) {
      expect(first.stderr).toMatch(line);
    }
    expect(await docker("run", "--rm", "plain:1")).toBe("Dockerfile\nsub\ncontent of a");
    expect(await docker("inspect", "-f", "{{.Id}} {{.Config.Labels.from}}", "plain:1")).toBe(
      `${readFileSync(ids, "utf8")} test`,
    );
    expect(JSON.parse(readFileSync(metadata, "utf8"))).toMatchObject({
      "containerimage.digest": readFileSync(ids, "utf8"),
    });
    const second = await buildx.run(...args, at);
    expect(second.stderr.match(/CACHED/g)).toHaveLength(3);
    expect(second.stderr).not.toContain("built for you");
    const usage = await buildx.run("du", "--verbose");
    expect(usage.stdout).toContain("COPY dir:");
    expect(await buildx.run("prune", "--force", "--all")).toMatchObject({ code: 0 });
    expect((await buildx.run(...args, at)).stderr).toContain("built for you");
  });

  it("builds from a tar that it is given", async () => {
    const at = context("tarred", { Dockerfile: "FROM busybox\nCOPY a /a\n", a: "from a tar\n" });
    execFileSync("tar", ["-C", at, "-cf", join(directory, "context.tar"), "."]);
    const input = readFileSync(join(directory, "context.tar"));
    expect(await buildx.runWith(input, "build", "-t", "tarred:1", "-")).toMatchObject({ code: 0 });
    expect(await docker("run", "--rm", "tarred:1", "cat", "/a")).toBe("from a tar");
  });

  it("tells which step failed, with what it printed", async () => {
    const at = context("failing", { Dockerfile: "FROM busybox\nRUN echo before; echo to errors >&2; exit 9\n" });
    const { code, stderr } = await buildx.run("build", at);
    expect(code).not.toBe(0);
    expect(stderr).toContain("to errors");
    expect(stderr).toContain(
      'process "/bin/sh -c echo before; echo to errors >&2; exit 9" did not complete successfully: exit code: 9',
    );
  });

  it("refuses by name what it does not have", async () => {
    const at = context("refused", { Dockerfile: "FROM busybox\n" });
    expect((await buildx.run("build", "--build-context", "x=oci-layout:///none", at)).code).not.toBe(0);
    expect((await buildx.run("build", "--cache-to", "type=local,dest=/x", at)).stderr).toContain(
      "--cache-to type=local is not supported",
    );
    expect((await buildx.run("build", "-f", join(at, "none"), at)).code).not.toBe(0);
  });

  it("stops a build whose client is interrupted, and leaves nothing of it", async () => {
    const at = context("slow", { Dockerfile: "FROM busybox\nRUN echo begun; sleep 600\n" });
    const client = buildx.start("build", at);
    const { stderr } = client;
    if (stderr === null) throw new Error("no output");
    let told = "";
    for await (const chunk of stderr) {
      told += String(chunk);
      if (/\d begun/.test(told)) break;
    }
    const exited = client.exitCode === null ? once(client, "exit") : Promise.resolve();
    client.kill("SIGINT");
    await exited;
    await expect.poll(() => docker("ps", "--all", "--quiet"), { timeout: 20_000 }).toBe("");
    await expect.poll(() => readdirSync(join(engine.directory, "data", "build")).length, { timeout: 20_000 }).toBe(0);
  });

  it("builds several targets of one file at once", async () => {
    const at = context("bake", {
      Dockerfile: "FROM busybox AS one\nCOPY a /a\nFROM one AS two\nRUN cat /a\n",
      a: "shared\n",
      "docker-bake.json": JSON.stringify({
        group: { default: { targets: ["one", "two"] } },
        target: {
          one: { context: join(directory, "bake"), target: "one", tags: ["baked:one"] },
          two: { context: join(directory, "bake"), target: "two", tags: ["baked:two"] },
        },
      }),
    });
    const { code, stderr } = await buildx.run("bake", "-f", join(at, "docker-bake.json"));
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr).toContain("shared");
    expect(await docker("run", "--rm", "baked:one", "cat", "/a")).toBe("shared");
  });
});

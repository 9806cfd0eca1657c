/** Debian 12's own docker client with DOCKER_BUILDKIT=1: BuildKit by POST /build, its files by a session. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { runCommand } from "../support/run-command.ts";

const client = new URL("../../.cache/docker-client/docker-20.10", import.meta.url).pathname;

describe("docker 20.10 with BuildKit", () => {
  const closers = new AsyncDisposableStack();
  let engine: EngineProcess;
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(realpathSync(tmpdir()), "berth-docker-20-"));
    closers.defer(() => rmSync(directory, { recursive: true }));
    engine = await EngineProcess.start();
    closers.defer(async () => {
      await engine.remove();
      await assertNothingLeft(engine);
    });
    const input = await busyboxArchive({ tags: ["busybox:latest"] });
    expect(await runCommand("docker", ["load"], { env: { DOCKER_HOST: engine.host }, input })).toMatchObject({
      code: 0,
    });
    mkdirSync(join(directory, "context/sub"), { recursive: true });
    writeFileSync(join(directory, "context/sub/file"), "of the context\n");
    writeFileSync(join(directory, "context/left"), "");
    writeFileSync(join(directory, "context/.dockerignore"), "left\n");
    writeFileSync(join(directory, "context/Dockerfile"), dockerfile);
    writeFileSync(join(directory, "secret"), "very secret\n");
  });
  afterAll(async () => {
    await closers.disposeAsync();
  });

  const dockerfile = [
    "FROM busybox",
    "COPY . /app",
    "RUN --mount=type=secret,id=s cat /run/secrets/s && ls /app && wc -c </run/secrets/s >/size",
    "CMD cat /app/sub/file /size",
  ].join("\n");
  const build = async (words: readonly string[], input?: Buffer) =>
    await runCommand(client, ["build", "--progress", "plain", ...words], {
      env: { DOCKER_HOST: engine.host, DOCKER_BUILDKIT: "1", DOCKER_CONFIG: join(directory, "config") },
      ...(input === undefined ? {} : { input }),
    });
  const secret = () => ["--secret", `id=s,src=${join(directory, "secret")}`];

  it("builds from a directory, with its secrets", async () => {
    const built = await build(["-t", "old:1", ...secret(), join(directory, "context")]);
    expect(built).toMatchObject({ code: 0 });
    expect(built.stderr).toMatch(/load build context[^]*very secret[^]*sub\n/);
    expect(built.stderr).not.toContain("left");
    expect(await engine.docker("run", "--rm", "old:1")).toMatchObject({ stdout: "of the context\n12\n" });
  });

  it("builds from a tar and from a Dockerfile on standard input", async () => {
    const context = execFileSync("tar", ["-C", join(directory, "context"), "-c", "."]);
    const tar = await build(["-t", "old:2", ...secret(), "-"], context);
    expect(tar).toMatchObject({ code: 0 });
    expect(await engine.docker("run", "--rm", "old:2")).toMatchObject({ stdout: "of the context\n12\n" });
    const file = await build(["-t", "old:3", "-"], Buffer.from("FROM busybox\nCMD echo three\n"));
    expect(file).toMatchObject({ code: 0 });
    expect(await engine.docker("run", "--rm", "old:3")).toMatchObject({ stdout: "three\n" });
  });

  it("tells what failed", async () => {
    const failed = await build(["-"], Buffer.from("FROM busybox\nRUN exit 9\n"));
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain('process "/bin/sh -c exit 9" did not complete successfully: exit code: 9');
  });
});

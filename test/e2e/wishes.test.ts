/** What Docker's users have asked for for years, through the docker client where it can say it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { until } from "../support/until.ts";

const image = "berth-wishes:1";

describe("an old wish", () => {
  let engine: EngineProcess;
  let scratch: string;

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), "berth-wishes-"));
    engine = await EngineProcess.start();
    writeFileSync(join(scratch, "image.tar"), await busyboxArchive({ tags: [image] }));
    expect((await engine.docker("load", "-i", join(scratch, "image.tar"))).code).toBe(0);
  });
  afterAll(async () => {
    rmSync(scratch, { recursive: true });
    await engine.remove();
    await assertNothingLeft(engine);
  });

  const done = async (...words: readonly string[]) => {
    const result = await engine.docker(...words);
    expect(result).toMatchObject({ code: 0 });
    return result.stdout.trim();
  };
  const inspect = (name: string, format: string) => done("inspect", "-f", format, name);
  const page = async (port: number): Promise<string> => {
    try {
      return await (await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(2000) })).text();
    } catch {
      return "";
    }
  };
  const serve = "mkdir -p /www; echo page > /www/index.html; exec httpd -f -h /www -p";

  it("is that a container whose health check fails is started again", async () => {
    const check = ["--health-cmd", "test ! -e /tmp/ill", "--health-interval", "200ms", "--health-retries", "2"];
    // As a process that ends well when it is asked to: to `on-failure` it would not have failed.
    const polite = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
    await done(
      "run",
      "-d",
      "--name",
      "w-ill",
      "--restart",
      "unhealthy",
      "--tmpfs",
      "/tmp",
      ...check,
      image,
      "sh",
      "-c",
      polite,
    );
    await until(async () => (await inspect("w-ill", "{{.State.Health.Status}}")) === "healthy", "it is healthy", 20);
    await done("exec", "w-ill", "touch", "/tmp/ill");
    await until(
      async () => (await inspect("w-ill", "{{.RestartCount}} {{.State.Health.Status}}")) === "1 healthy",
      "it is started again",
      20,
    );
    expect(await inspect("w-ill", "{{.HostConfig.RestartPolicy.Name}}")).toBe("unhealthy");

    // Also when the engine is killed while it is ill.
    await done("exec", "w-ill", "touch", "/tmp/ill");
    await engine.crash();
    await engine.boot();
    await until(
      async () => (await inspect("w-ill", "{{.RestartCount}} {{.State.Health.Status}}")) === "2 healthy",
      "it is started again after the kill",
      20,
    );
    await done("stop", "-t", "1", "w-ill");
    expect(await inspect("w-ill", "{{.State.Status}}")).toBe("exited");
    await done("rm", "w-ill");
    expect(await engine.docker("create", "--restart", "unhealthy", image)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("'unhealthy' needs a health check"),
    });
  });

  it("is that published ports change without another container", async () => {
    await done(
      "run",
      "-d",
      "--name",
      "w-web",
      "--stop-signal",
      "KILL",
      "-p",
      "28280:80",
      image,
      "sh",
      "-c",
      `${serve} 80`,
    );
    const id = await inspect("w-web", "{{.Id}} {{.State.Pid}}");
    await until(async () => (await page(28280)) === "page\n", "the page is served", 20);
    expect(await engine.berth("port", "add", "w-web", "28281:80", "127.0.0.1:28282:80")).toMatchObject({
      code: 0,
      stdout: "80/tcp -> 0.0.0.0:28280\n80/tcp -> 0.0.0.0:28281\n80/tcp -> 127.0.0.1:28282\n",
    });
    expect([await page(28281), await page(28282)]).toEqual(["page\n", "page\n"]);
    expect((await engine.berth("port", "rm", "w-web", "28280:80")).code).toBe(0);
    expect(await page(28280)).toBe("");
    expect(await inspect("w-web", "{{.Id}} {{.State.Pid}}")).toBe(id);

    await engine.crash();
    await engine.boot();
    expect([await page(28280), await page(28281)]).toEqual(["", "page\n"]);
    await done("restart", "w-web");
    await until(async () => (await page(28282)) === "page\n", "the page is served after a restart", 20);
    expect(await done("port", "w-web")).toBe("80/tcp -> 0.0.0.0:28281\n80/tcp -> 127.0.0.1:28282");

    // One that is taken is refused, by name, and nothing has changed.
    await done("run", "-d", "--name", "w-other", "--stop-signal", "KILL", "-p", "28283:80", image, "sleep", "60");
    expect(await engine.berth("port", "add", "w-web", "28284:80", "28283:80")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("held by container w-other"),
    });
    expect([await page(28284), await page(28281)]).toEqual(["", "page\n"]);
    expect(await engine.berth("port", "rm", "w-web", "81")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("w-web does not publish 81/tcp"),
    });
    await done("rm", "-f", "w-web", "w-other");
    expect([await page(28281), await page(28282)]).toEqual(["", ""]);
  });
});

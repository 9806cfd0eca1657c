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

  it("is that all containers' figures come in one reading", async () => {
    const write = "dd if=/dev/zero of=/dev/shm/held bs=1M count=8 2>/dev/null; while :; do :; done";
    await done(
      "run",
      "-d",
      "--name",
      "w-busy",
      "--stop-signal",
      "KILL",
      "--cpus",
      "0.2",
      "-m",
      "64m",
      image,
      "sh",
      "-c",
      write,
    );
    for (const name of ["w-idle1", "w-idle2"]) {
      await done("run", "-d", "--name", name, "--stop-signal", "KILL", image, "sleep", "600");
    }
    await done(
      "exec",
      "w-idle1",
      "ping",
      "-c",
      "2",
      "-s",
      "1000",
      await inspect("w-idle2", "{{.NetworkSettings.IPAddress}}"),
    );
    interface Line {
      readonly Name: string;
      readonly CPUPerc: string;
      readonly MemUsage: string;
      readonly NetIO: string;
      readonly PIDs: string;
    }
    const read = async (...words: readonly string[]) => {
      const { code, stdout } = await engine.berth("stats", "--no-stream", "--json", ...words);
      expect(code).toBe(0);
      return new Map(
        stdout
          .trim()
          .split("\n")
          .map((line): Line => JSON.parse(line))
          .map((line) => [line.Name, line]),
      );
    };
    const lines = await read();
    expect([...lines.keys()].sort()).toEqual(["w-busy", "w-idle1", "w-idle2"]);
    const busy = Number.parseFloat(lines.get("w-busy")?.CPUPerc ?? "");
    expect(busy).toBeGreaterThan(5);
    expect(busy).toBeLessThan(40);
    expect(lines.get("w-busy")?.MemUsage).toMatch(/^(8|9)(\.\d+)?MiB \/ 64MiB$/);
    expect(lines.get("w-idle1")).toMatchObject({
      PIDs: "1",
      NetIO: expect.stringMatching(/^\d(\.\d+)?kB \/ \d(\.\d+)?kB$/),
    });
    expect([...(await read("w-idle2")).keys()]).toEqual(["w-idle2"]);
    await done("stop", "w-idle2");
    expect((await read("-a")).get("w-idle2")).toMatchObject({ PIDs: "0", MemUsage: "0B / 0B" });
    expect(await engine.berth("stats", "nosuch")).toMatchObject({ code: 1, stderr: expect.stringContaining("nosuch") });
    await done("rm", "-f", "w-busy", "w-idle1", "w-idle2");
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

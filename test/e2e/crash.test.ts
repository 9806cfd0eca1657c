/** `kill -9` of the engine under running containers: ports answer, logs are whole, and the next engine knows everything. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { runCommand } from "../support/run-command.ts";

const image = "berth-crash:1";

describe("an engine that is killed", () => {
  let engine: EngineProcess;

  beforeAll(async () => {
    engine = await EngineProcess.start();
    const archive = await busyboxArchive({ tags: [image] });
    await runCommand("docker", ["load"], { env: { DOCKER_HOST: engine.host }, input: archive });
  });
  afterAll(async () => {
    await engine.remove();
    await assertNothingLeft(engine);
  });

  const docker = async (...words: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await engine.docker(...words);
    if (code !== 0) throw new Error(`docker ${words.join(" ")}: ${stderr}`);
    return stdout.trim();
  };

  it("leaves published ports answering, names resolving and logs whole, and finds it all again", async () => {
    await docker("network", "create", "crash-net");
    await docker(
      "run",
      "-d",
      "--name",
      "web",
      "--network",
      "crash-net",
      "--stop-signal",
      "KILL",
      "-p",
      "127.0.0.1:0:80",
      image,
      "httpd",
      "-f",
      "-p",
      "80",
      "-h",
      "/etc",
    );
    await docker(
      "run",
      "-d",
      "--name",
      "counter",
      "--stop-signal",
      "KILL",
      image,
      "sh",
      "-c",
      "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done",
    );
    await docker(
      "run",
      "-d",
      "--name",
      "asker",
      "--network",
      "crash-net",
      "--stop-signal",
      "KILL",
      image,
      "sh",
      "-c",
      "while :; do wget -qO- http://web/hostname >/dev/null && echo ok || echo FAILED; sleep 0.1; done",
    );
    await docker("run", "-d", "--name", "ends", image, "sh", "-c", "sleep 3; exit 42");
    await docker("run", "-d", "--rm", "--name", "goes", image, "sleep", "3");
    const port = /:(\d+)$/.exec(await docker("port", "web", "80"))?.[1];
    let failures = 0;
    let asked = 0;
    const asking = setInterval(() => {
      asked++;
      fetch(`http://127.0.0.1:${port}/passwd`, { signal: AbortSignal.timeout(3000) }).then(
        (response) => void (response.ok || failures++),
        () => failures++,
      );
    }, 50);
    try {
      await engine.crash();
      await new Promise((resolve) => setTimeout(resolve, 4000));
      await engine.boot();
      await new Promise((resolve) => setTimeout(resolve, 500));
    } finally {
      clearInterval(asking);
    }
    expect(asked).toBeGreaterThan(50);
    expect(failures).toBe(0);

    const state = async (name: string) => await docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name);
    expect(await state("web")).toBe("running 0");
    expect(await state("counter")).toBe("running 0");
    expect(await state("ends")).toBe("exited 42");
    expect((await engine.docker("inspect", "goes")).code).toBe(1);

    const lines = (await docker("logs", "counter")).split("\n");
    expect(lines.length).toBeGreaterThan(60);
    expect(lines).toEqual(lines.map((_, index) => `line ${index + 1}`));
    expect(await docker("logs", "asker")).not.toContain("FAILED");

    // The new engine is in charge: exec, stop and rm work on what it found.
    expect(await docker("exec", "web", "echo", "in charge")).toBe("in charge");
    await docker("stop", "-t", "1", "web");
    expect(await state("web")).toBe("exited 137");
    await docker("rm", "-f", "web", "counter", "asker", "ends");
    await docker("network", "rm", "crash-net");
  });

  it("brings back what the restart policy says, and only that", async () => {
    await docker("run", "-d", "--name", "always", "--restart", "always", image, "sh", "-c", "sleep 2; exit 1");
    await docker("run", "-d", "--name", "never", image, "sh", "-c", "sleep 2; exit 1");
    await engine.crash();
    await new Promise((resolve) => setTimeout(resolve, 2500));
    await engine.boot();
    await expect
      .poll(() => docker("inspect", "-f", "{{.State.Running}} {{.RestartCount}}", "always"), { timeout: 10_000 })
      .toMatch(/^true [1-9]/);
    expect(await docker("inspect", "-f", "{{.State.Status}}", "never")).toBe("exited");
    await docker("rm", "-f", "always", "never");
  });

  it("undoes what a build was doing", async () => {
    const building = runCommand("docker", ["build", "-"], {
      env: { DOCKER_HOST: engine.host, DOCKER_BUILDKIT: "0" },
      input: `FROM ${image}\nRUN echo one > /one\nRUN sleep 60\n`,
    });
    await expect
      .poll(
        async () => engine.log().includes("sleep 60") || (await runCommand("pgrep", ["-f", "sleep 60"])).code === 0,
        { timeout: 10_000 },
      )
      .toBe(true);
    await engine.crash();
    await building;
    await engine.boot();
    expect(await docker("ps", "-aq")).toBe("");
    const again = await runCommand("docker", ["build", "-q", "-"], {
      env: { DOCKER_HOST: engine.host, DOCKER_BUILDKIT: "0" },
      input: `FROM ${image}\nRUN echo one > /one\n`,
    });
    expect(again.code).toBe(0);
  });
});

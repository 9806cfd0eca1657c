/** The example of four services under the real docker compose: up, healed, scaled, changed, and down with nothing left. */
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { ComposeClient } from "../support/compose-client.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft, tracesOf } from "../support/leaks.ts";
import { type RegistryProcess, startRegistry } from "../support/registry.ts";
import { runCommand } from "../support/run-command.ts";

const example = new URL("../../examples/compose", import.meta.url).pathname;
const patience = { timeout: 30_000, interval: 200 };

describe("docker compose", () => {
  const closers = new AsyncDisposableStack();
  let registry: RegistryProcess;
  let engine: EngineProcess;
  let project: string;
  let compose: ComposeClient;
  let before: readonly string[];

  beforeAll(async () => {
    project = mkdtempSync(join(realpathSync(tmpdir()), "berth-compose-"));
    closers.defer(() => rmSync(project, { recursive: true }));
    cpSync(example, project, { recursive: true });
    registry = closers.use(await startRegistry());
    engine = await EngineProcess.start();
    closers.defer(async () => {
      await engine.remove();
      await assertNothingLeft(engine);
    });
    compose = new ComposeClient(engine, project);
    const archive = await busyboxArchive({ tags: ["busybox:latest", `${registry.host}/cache:1`] });
    const env = { DOCKER_HOST: engine.host };
    expect(await runCommand("docker", ["load"], { env, input: archive })).toMatchObject({ code: 0 });
    await docker("push", `${registry.host}/cache:1`);
    await docker("rmi", `${registry.host}/cache:1`);
    // What the engine keeps as long as it runs comes with the first container: its bridge, table and control group.
    await docker("run", "--rm", "-p", "80", "busybox", "true");
    before = tracesOf(engine);
  });
  afterAll(async () => {
    await closers.disposeAsync();
  });

  const docker = async (...words: readonly string[]) => {
    const { code, stdout, stderr } = await engine.docker(...words);
    if (code !== 0) throw new Error(`docker ${words.join(" ")}: ${stdout}${stderr}`);
    return stdout.trim();
  };
  const page = async (path: string) => {
    const address = (await compose.output("port", "web", "80")).trim();
    return await (await fetch(`http://${address}${path}`)).text();
  };
  /** Of the containers of a service, the addresses that its name resolves to on the front network. */
  const addressesOf = async (service: string) => {
    const found = await compose.output("exec", "-T", "api", "nslookup", service);
    const answer = found.slice(found.indexOf("Name:"));
    return new Set([...answer.matchAll(/Address[^:]*:\s*(\d+\.\d+\.\d+\.\d+)/g)].map(([, address]) => address));
  };

  it("says what a project is: profiles, variables of .env, an included env file", async () => {
    const config = JSON.parse(await compose.output("config", "--format", "json")) as {
      readonly services: Readonly<Record<string, { readonly environment?: unknown }>>;
    };
    expect(Object.keys(config.services).sort()).toEqual(["api", "db", "job", "web"]);
    expect(config.services["api"]?.environment).toMatchObject({ API_NAME: "guestbook", API_MODE: "two words" });
    expect((await compose.output("--profile", "debug", "config", "--services")).split("\n")).toContain("debug");
  });

  it("builds, and starts each service when what it depends on is ready", async () => {
    expect(await compose.output("build", "web")).toContain("Successfully tagged guestbook-web:latest");
    await compose.output("up", "--detach");
    expect(await compose.containers()).toMatchObject({
      "guestbook-db-1": { State: "running", Health: "healthy" },
      "guestbook-job-1": { State: "exited", ExitCode: 0 },
      "guestbook-api-1": { State: "running", Health: "healthy" },
      "guestbook-web-1": { State: "running" },
    });
    expect(await page("/pages/")).toBe("Hello, Guests!\n");
    expect(await page("/cgi-bin/rows?hello")).toMatch(
      /^Welcome to the guest book\nthe\+first\+row\nhello\nserved by [0-9a-f]{12}\n$/,
    );
    expect(await compose.output("up", "--detach", "--wait", "web")).toBe("");
  });

  it("gives secrets and configs as files, of a file, of the environment and of their own text", async () => {
    const text = await compose.output("exec", "-T", "api", "cat", "/run/secrets/api_key", "/run/secrets/token");
    expect(text).toBe("k3y-of-the-file\nt0ken-of-the-env-file");
    const configs = await compose.output("exec", "-T", "api", "cat", "/etc/banner", "/etc/limits");
    expect(configs).toBe("Welcome to the guest book\nrows=100\n");
  });

  it("walls off an internal network", async () => {
    expect(
      (await compose.run("exec", "-T", "web", "wget", "-q", "-T", "3", "-O", "-", "http://db:5432/")).code,
    ).not.toBe(0);
    expect(await addressesOf("db")).toHaveLength(1);
  });

  it("shows logs, processes, runs a command beside, and in one that runs", async () => {
    expect(await compose.output("logs", "--no-log-prefix", "job")).toContain("the+first+row");
    expect(await compose.output("top", "web")).toContain("httpd -f -p 80 -h /srv");
    expect(await compose.output("images", "web")).toContain("guestbook-web");
    expect((await compose.run("exec", "-T", "api", "sh", "-c", "exit 7")).code).toBe(7);
    const ran = await compose.output(
      "run",
      "--rm",
      "--no-deps",
      "-T",
      "-e",
      "MORE=1",
      "api",
      "sh",
      "-c",
      "echo $API_NAME $MORE",
    );
    expect(ran).toBe("guestbook 1\n");
    expect(Object.keys(await compose.containers())).toHaveLength(4);
    writeFileSync(join(project, "note"), "copied\n");
    await compose.output("cp", "note", "web:/srv/pages/note");
    expect(await page("/pages/note")).toBe("copied\n");
  });

  it("starts a profile's service only when asked, and pulls an image", async () => {
    await compose.output("--profile", "debug", "up", "--detach", "debug");
    expect(
      await compose.output("--profile", "debug", "exec", "-T", "debug", "wget", "-q", "-O", "-", "http://web/pages/"),
    ).toBe("Hello, Guests!\n");
    await compose.output("--profile", "debug", "rm", "--stop", "--force", "debug");
    writeFileSync(
      join(project, "pulled.yaml"),
      `services: {cache: {image: "${registry.host}/cache:1", command: "true", network_mode: none}}\n`,
    );
    const pulled = ["-p", "pulled", "-f", "pulled.yaml"] as const;
    await compose.output(...pulled, "pull", "cache");
    await compose.output(...pulled, "up", "--pull", "always");
    await compose.output(...pulled, "down", "--rmi", "all");
    expect(await docker("images", "-q", `${registry.host}/cache`)).toBe("");
  });

  it("heals after a kill of a process, of a container and of the engine", async () => {
    const pid = Number(await docker("inspect", "-f", "{{.State.Pid}}", "guestbook-api-1"));
    process.kill(pid, "SIGKILL");
    const state = ["inspect", "-f", "{{.State.Status}} {{.RestartCount}} {{.State.Health.Status}}"];
    await expect.poll(async () => await docker(...state, "guestbook-api-1"), patience).toBe("running 1 healthy");
    expect(await page("/cgi-bin/rows")).toContain("hello");

    await compose.output("kill", "web");
    expect((await compose.containers())["guestbook-web-1"]).toMatchObject({ State: "exited", ExitCode: 137 });
    await engine.crash();
    await engine.boot();
    // Killed by hand it stays down; the others went on without the engine.
    expect(await compose.containers()).toMatchObject({
      "guestbook-db-1": { State: "running", Health: "healthy" },
      "guestbook-web-1": { State: "exited" },
    });
    await compose.output("up", "--detach");
    expect(await page("/cgi-bin/rows")).toContain("hello");
  });

  it("scales to three, each of which is found by the service's name and answers", async () => {
    await compose.output("up", "--detach", "--scale", "web=3");
    expect(Object.keys(await compose.containers()).filter((name) => name.includes("web"))).toHaveLength(3);
    expect(await addressesOf("web")).toHaveLength(3);
    const answers = new Set<string>();
    for (const index of ["1", "2", "3"]) {
      const address = (await compose.output("port", "--index", index, "web", "80")).trim();
      answers.add(await (await fetch(`http://${address}/cgi-bin/rows`)).text());
    }
    expect(answers).toHaveLength(3);
    await compose.output("scale", "web=1");
    expect(Object.keys(await compose.containers()).filter((name) => name.includes("web"))).toEqual(["guestbook-web-1"]);
  });

  it("follows changed files into the container (watch)", async () => {
    const watch = compose.start("watch", "--no-up");
    const ended = once(watch, "exit");
    let said = "";
    watch.stdout?.on("data", (chunk: Buffer) => (said += chunk.toString()));
    watch.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
    try {
      await expect.poll(() => said, patience).toMatch(/watch/i);
      // Its first look at the files may not be done when it says so, and it waits until they are left alone for a moment.
      const writtenAgain = { timeout: 30_000, interval: 3000 };
      await expect
        .poll(async () => {
          const seen = await page("/pages/about.html");
          writeFileSync(join(project, "web/pages/about.html"), "Changed while it ran.\n");
          return seen;
        }, writtenAgain)
        .toBe("Changed while it ran.\n");
    } finally {
      // Not SIGINT, which whoever was started in the background of a shell ignores, and all its children.
      watch.kill("SIGTERM");
      await ended;
    }
  });

  it("restarts, stops and starts, pauses, and makes anew what its file changed", async () => {
    await compose.output("restart", "api");
    await compose.output("stop", "web");
    expect((await compose.containers())["guestbook-web-1"]).toMatchObject({ State: "exited" });
    await compose.output("start", "web");
    await compose.output("pause", "db");
    expect((await compose.containers())["guestbook-db-1"]).toMatchObject({ State: "paused" });
    await compose.output("unpause", "db");
    const { ID: before } = (await compose.containers())["guestbook-api-1"] ?? { ID: "" };
    const file = join(project, "compose.yaml");
    writeFileSync(file, readFileSync(file, "utf8").replace("DATABASE:", "CHANGED: yes it is\n      DATABASE:"));
    await compose.output("up", "--detach");
    const { ID: after } = (await compose.containers())["guestbook-api-1"] ?? { ID: "" };
    expect(after).not.toBe(before);
    expect(await compose.output("exec", "-T", "api", "sh", "-c", "echo $CHANGED")).toBe("yes it is\n");
    // The rows are the volume's, not the container's.
    await compose.output("up", "--detach", "--force-recreate", "db");
    await expect.poll(async () => await page("/cgi-bin/rows"), patience).toContain("hello");
  });

  it("comes down with nothing left", async () => {
    expect(await docker("volume", "ls", "-q")).toBe("guestbook_rows");
    await compose.output("down", "--volumes", "--rmi", "local", "--remove-orphans");
    expect(await docker("ps", "-aq")).toBe("");
    expect(await docker("volume", "ls", "-q")).toBe("");
    expect(await docker("network", "ls", "-q", "--filter", "type=custom")).toBe("");
    expect(await docker("images", "--format", "{{.Repository}}")).toBe("busybox");
    const left = () => tracesOf(engine).filter((trace) => !before.includes(trace) && !trace.includes(" daemon "));
    await expect.poll(left, patience).toEqual([]);
  });
});

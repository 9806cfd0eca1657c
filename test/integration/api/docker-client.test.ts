/** The unmodified `docker` client against the API over a back end in memory: what it draws, asks for in what order, and expects. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createDockerApi } from "../../../src/api/docker/api.ts";
import { type FakeBackend, fakeBackend } from "../../../src/api/docker/fake/fake-backend.ts";
import { listen, type Listening } from "../../../src/api/docker/listen.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { type CommandResult, runCommand } from "../../support/run-command.ts";

let directory: string;
let backend: FakeBackend;
let served: Listening | undefined;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "berth-api-"));
});
beforeEach(async () => {
  await served?.[Symbol.asyncDispose]();
  backend = fakeBackend();
  backend.images.add("busybox", { Cmd: ["sh"] });
  served = await listen(createDockerApi({ backend, log: silentLogger }), [`unix://${directory}/docker.sock`]);
});
afterAll(async () => {
  await served?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

/** Splits at spaces; no shell. */
async function docker(line: string, input = ""): Promise<CommandResult> {
  return await runCommand("docker", line.split(" "), { env: environment(), input, timeoutMs: 20_000 });
}

/** In a terminal, with what a user types: each piece when its condition holds. */
async function dockerInTerminal(
  line: string,
  typed: readonly { readonly when: (shown: string) => boolean; readonly keys: string }[],
): Promise<string> {
  const env = { ...process.env, ...environment() };
  // A terminal without a size would not be told of.
  const command = `stty rows 24 cols 80; docker ${line}`;
  const child = spawn("script", ["-qec", command, "/dev/null"], { env, stdio: ["pipe", "pipe", "inherit"] });
  let shown = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    shown += chunk;
  });
  const over = once(child, "close");
  for (const { when, keys } of typed) {
    await expect.poll(() => when(shown), { timeout: 15_000, interval: 20 }).toBe(true);
    child.stdin.write(keys);
  }
  await over;
  return shown;
}

function environment(): Record<string, string> {
  return { DOCKER_HOST: `unix://${directory}/docker.sock`, DOCKER_BUILDKIT: "0", DOCKER_CONFIG: directory };
}

async function output(line: string, input = ""): Promise<string> {
  const { code, stdout, stderr } = await docker(line, input);
  expect({ line, code, stderr }).toEqual({ line, code: 0, stderr: "" });
  return stdout.trim();
}

describe("containers", () => {
  it("runs in the foreground, with both streams, input and exit code", async () => {
    expect(await docker("run --rm busybox both")).toMatchObject({ code: 3, stdout: "out\n", stderr: "err\n" });
    expect(await docker("run -i --rm busybox cat", "typed\n")).toMatchObject({ code: 0, stdout: "typed\n" });
    expect(await output("ps -aq")).toBe("");
  });

  it("runs in the background, and does everything to it", async () => {
    const id = await output("run -d --name web -p 127.0.0.1:8080:80 -v data:/data -l a=b busybox sleep 100");
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    expect(await output("ps --format {{.Names}}|{{.Image}}|{{.Command}}|{{.State}}|{{.Labels}}|{{.Mounts}}")).toBe(
      'web|busybox|"sleep 100"|running|a=b|data',
    );
    expect(await output("inspect -f {{.State.Status}}{{.Config.Image}}{{.HostConfig.NetworkMode}} web")).toBe(
      "runningbusyboxbridge",
    );
    expect(await output("exec web echo inside")).toBe("inside");
    expect(await docker("exec -i web cat", "in")).toMatchObject({ code: 0, stdout: "in" });
    expect(await docker("exec web missing")).toMatchObject({ code: 127 });
    expect(await output("top web")).toContain("sleep 1");
    expect(await output("diff web")).toBe("C /etc\nA /etc/new");
    expect(await output("stats --no-stream --format {{.Name}}|{{.PIDs}} web")).toBe("web|1");
    expect(await output("update --cpus 0.5 web")).toBe("web");
    await output("rename web site");
    await output("pause site");
    await output("unpause site");
    await output("restart -t 0 site");
    await output("stop -t 0 site");
    await output("start site");
    await output("kill site");
    expect(await output("wait site")).toBe("137");
    expect(await output("commit site made:1")).toMatch(/^sha256:/);
    await output("rm site");
    expect(await docker("inspect site")).toMatchObject({ code: 1, stderr: expect.stringContaining("No such object") });
  });

  it("prints the engine's message, not its JSON", async () => {
    expect((await docker("rm nope")).stderr).toBe("Error response from daemon: No such container: nope\n");
    expect((await docker("ps --filter nope=1")).stderr).toBe("Error response from daemon: invalid filter 'nope'\n");
    const refused = await docker("create --cgroup-parent /x busybox sleep");
    expect(refused.stderr).toContain("HostConfig.CgroupParent is not supported by Berth");
  });

  it("follows logs to the end", async () => {
    await docker("run --name log busybox both");
    expect(await docker("logs -f log")).toMatchObject({ code: 0, stdout: "out\n", stderr: "err\n" });
    expect(await docker("logs -t log")).toMatchObject({ stdout: "2026-01-01T00:00:00.000000000Z out\n" });
  });
});

describe("terminals", () => {
  // The client tells the size when the terminal is its own: from then on keys are passed on as they are.
  const resized = (times: number) => () => backend.instances.resizes.length >= times;

  it("attaches to a run, resizes it, and detaches by keys", async () => {
    const shown = await dockerInTerminal("run -it --name tty busybox cat", [
      { when: resized(1), keys: "hello\r" },
      { when: (text) => text.includes("hello"), keys: "\u0010\u0011" },
    ]);
    expect(shown).toContain("hello");
    expect(backend.instances.resolve("tty").state.status).toBe("running");
    expect(backend.instances.requests[0]?.process).toMatchObject({ tty: true, openStdin: true });
    const before = backend.instances.resizes.length;
    const again = await dockerInTerminal("attach --detach-keys ctrl-a tty", [
      { when: resized(before + 1), keys: "back\r" },
      { when: (text) => text.includes("back"), keys: "\u0001" },
    ]);
    expect(again).toContain("back");
    expect(backend.instances.resolve("tty").state.status).toBe("running");
  });

  it("gives an exec a terminal of its own", async () => {
    await output("run -d --name c busybox sleep 9");
    const shown = await dockerInTerminal("exec -it c cat", [
      { when: resized(1), keys: "typed\r" },
      { when: (text) => text.includes("typed"), keys: "\u0010\u0011" },
    ]);
    expect(shown).toContain("typed");
  });
});

describe("images and builds", () => {
  it("draws a pull, and reports one that breaks off", async () => {
    expect(await output("pull -q debian:12")).toBe("docker.io/library/debian:12");
    expect((await docker("pull debian:12")).stdout).toContain("aaaaaaaaaaaa: Pull complete");
    expect(await docker("pull broken:1")).toMatchObject({ code: 1, stderr: "connection cut\n" });
    expect(await docker("pull missing:1")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("manifest unknown"),
    });
  });

  it("pulls what a run misses", async () => {
    const { code, stdout, stderr } = await docker("run --rm fresh:1 echo ran");
    expect({ code, stdout }).toEqual({ code: 0, stdout: "ran\n" });
    expect(stderr).toContain("Unable to find image 'fresh:1' locally");
  });

  it("lists, tags, saves, loads, imports and removes", async () => {
    await output("tag busybox localhost:5000/a/b:2");
    expect(await output("images --format {{.Repository}}:{{.Tag}} localhost:5000/a/b")).toContain(
      "localhost:5000/a/b:2",
    );
    expect(await output("history -q busybox")).toMatch(/^[0-9a-f]{12}$/);
    expect(await output("save busybox")).toBe("busybox");
    expect(await output("load", "tar")).toBe("Loaded image: loaded:latest");
    expect(await output("import - mine:1", "tar")).toMatch(/^sha256:/);
    expect(await output("rmi mine:1")).toContain("Deleted: sha256:");
    expect((await docker("search x")).stderr).toContain("searching Docker Hub is not supported by Berth");
  });

  it("builds with the classic builder when nothing else is asked for", async () => {
    const context = join(directory, "context");
    await mkdir(context, { recursive: true });
    await writeFile(join(context, "Dockerfile"), "FROM scratch\n");
    const built = await docker(`build -t made:1 --build-arg A=1 ${context}`);
    expect(built).toMatchObject({ code: 0, stdout: expect.stringContaining("Step 1/1 : FROM scratch") });
    expect(backend.builds[0]).toMatchObject({ tags: ["made:1"], buildArgs: { A: "1" } });
    const failed = await docker(`build --target fail ${context}`);
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining("the build failed") });
  });
});

describe("the rest", () => {
  it("copies both ways", async () => {
    await output("create --name c busybox sleep");
    await writeFile(join(directory, "file"), "content");
    await docker(`cp ${directory}/file c:/tmp/`);
    expect(backend.instances.copied[0]?.includes("content")).toBe(true);
    expect(await docker("cp c:/missing -")).toMatchObject({ code: 1, stderr: expect.stringContaining("/missing") });
    expect((await docker("export c")).stdout).toHaveLength(2048);
  });

  it("has networks, volumes, system and registries", async () => {
    await output("network create n1");
    expect(await output("network ls --format {{.Name}}")).toContain("n1");
    expect(await output("network inspect -f {{.Driver}} n1")).toBe("bridge");
    await output("network rm n1");
    expect(await output("volume create v1")).toBe("v1");
    expect(await output("volume inspect -f {{.Mountpoint}} v1")).toBe("/volumes/v1/_data");
    await output("volume rm v1");
    expect(await output("version -f {{.Server.APIVersion}}")).toBe("1.51");
    expect(await output("info -f {{.Driver}}/{{.NCPU}}")).toBe("overlay2/2");
    expect(await output("system df --format {{.Type}}")).toBe("Images\nContainers\nLocal Volumes\nBuild Cache");
    expect(await output("system prune -af --volumes")).toContain("Total reclaimed space");
    expect((await docker("swarm init")).stderr).toContain("Swarm mode is not supported by Berth");
    expect((await docker("node ls")).stderr).toContain("This node is not a swarm manager");
    const login = await docker("login -u u --password-stdin 127.0.0.1:5000", "wrong");
    expect(login.stderr).toContain("incorrect username or password");
    expect((await docker("login -u u --password-stdin 127.0.0.1:5000", "right")).stdout).toContain("Login Succeeded");
  });

  it("shows past events", async () => {
    await output("create --name c busybox sleep");
    // Docker's client rounds moments down to seconds.
    const until = Math.floor(Date.now() / 1000) + 1;
    const format = "--format {{.Type}}:{{.Action}}:{{.Actor.Attributes.name}}";
    expect(await output(`events --since 1m --until ${until} ${format}`)).toBe("container:create:c");
  });
});

/** `RUN --mount` with the real docker buildx, and what a build leaves that ends in the middle of a step with mounts. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { BuildxClient } from "../support/buildx-client.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { runCommand } from "../support/run-command.ts";

describe("mounts of RUN, with docker buildx", () => {
  const closers = new AsyncDisposableStack();
  let engine: EngineProcess;
  let buildx: BuildxClient;
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(realpathSync(tmpdir()), "berth-mounts-"));
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
    mkdirSync(at, { recursive: true });
    for (const [path, content] of Object.entries(files)) writeFileSync(join(at, path), content);
    return at;
  };
  const docker = async (...words: readonly string[]) => (await engine.docker(...words)).stdout.trim();
  const build = async (...words: readonly string[]): Promise<string> => {
    const { code, stderr } = await buildx.run("build", ...words);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return stderr;
  };

  it("finds a cache again in a second build, with either builder, and binds from another stage", async () => {
    const dockerfile = (text: string): string => `FROM busybox AS tools
RUN mkdir /out && echo from the stage > /out/file
FROM busybox
RUN --mount=type=cache,target=/c --mount=from=tools,source=/out,target=/o --mount=target=/ctx,source=. \\
    echo ${text} >> /c/log; cat /c/log /o/file /ctx/a > /seen
`;
    await build("-t", "cached:1", context("cache", { Dockerfile: dockerfile("one"), a: "of the context\n" }));
    await build("-t", "cached:2", context("cache", { Dockerfile: dockerfile("two") }));
    context("cache", { Dockerfile: dockerfile("three") });
    const classic = await runCommand("docker", ["build", "-q", "-t", "cached:3", join(directory, "cache")], {
      env: { DOCKER_HOST: engine.host, DOCKER_BUILDKIT: "0" },
    });
    expect(classic).toMatchObject({ code: 0 });
    expect(await docker("run", "--rm", "cached:3", "sh", "-c", "cat /seen; ls -d /c /o /ctx 2>/dev/null")).toBe(
      "one\ntwo\nthree\nfrom the stage\nof the context",
    );
    expect((await buildx.run("du", "--verbose")).stdout).toMatch(/Description:\s+cached mount \/c/);
    expect(await docker("system", "df", "-v")).toContain("exec.cachemount");
    expect(await docker("builder", "prune", "--force", "--filter", "type=exec.cachemount")).toMatch(/Total.*[1-9]/);
    expect(await docker("system", "df", "-v")).not.toContain("exec.cachemount");
  });

  it("gives a secret to the step that asks for it, and to nothing else", async () => {
    const value = "v3ry-s3cret-value";
    const at = context("secret", {
      Dockerfile: `FROM busybox
RUN --mount=type=secret,id=file,target=/s --mount=type=secret,id=variable,env=TOKEN,required test "$(cat /s)" = "$TOKEN" && echo \${#TOKEN} > /length
RUN --mount=type=secret,id=none ! test -e /run/secrets/none && test -z "$TOKEN"
`,
      value,
    });
    const file = join(at, "value");
    const given = ["--secret", `id=file,src=${file}`, "--secret", `id=variable,src=${file}`];
    writeFileSync(join(at, ".dockerignore"), "value\n");
    const told = await build("-t", "secret:1", ...given, at);
    expect(await docker("run", "--rm", "secret:1", "cat", "/length")).toBe(String(value.length));
    const archive = join(directory, "secret.tar");
    await docker("save", "-o", archive, "secret:1");
    expect(readFileSync(archive).includes(value)).toBe(false);
    expect(told + (await docker("history", "--no-trunc", "secret:1")) + engine.log()).not.toContain(value);
    for (const path of filesBelow(engine.dataRoot)) expect(readFileSync(path).includes(value), path).toBe(false);
    // Another value is no reason to run the step again; a missing one fails it.
    writeFileSync(file, "another");
    expect((await build(...given, at)).match(/CACHED/g)).toHaveLength(2);
    const { code, stderr } = await buildx.run("build", "--no-cache", "--secret", `id=file,src=${file}`, at);
    expect(code).not.toBe(0);
    expect(stderr).toContain("secret variable: not found");
  });

  it("forwards the client's SSH agent", async () => {
    // What an agent without keys answers (SSH_AGENT_IDENTITIES_ANSWER, none).
    const none = Buffer.from([0, 0, 0, 5, 12, 0, 0, 0, 0]);
    const agent = createServer((socket) => socket.on("data", () => socket.write(none)));
    const path = join(directory, "agent.sock");
    agent.listen(path);
    await once(agent, "listening");
    const step = "RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo begun; sleep 600";
    const client = await startBuild(context("ssh", { Dockerfile: `FROM busybox\n${step}\n` }), `default=${path}`);
    try {
      // busybox has no program for sockets: this end of it is asked from the outside.
      const [socket = ""] = agentSockets(engine);
      const connection = connect(socket);
      const answer: number[] = [];
      connection.on("data", (data) => void answer.push(...data));
      connection.write(Buffer.from([0, 0, 0, 1, 11]));
      await expect.poll(() => answer, { timeout: 30_000 }).toEqual([...none]);
      connection.destroy();
    } finally {
      await interrupt(client);
      agent.close();
    }
    const required = context("ssh", { Dockerfile: "FROM busybox\nRUN --mount=type=ssh,required true\n" });
    expect((await buildx.run("build", required)).stderr).toContain('no SSH key "default" forwarded from the client');
  });

  const slow = `FROM busybox AS other
FROM busybox
RUN --mount=type=secret,id=s,required --mount=type=cache,target=/c,sharing=locked --mount=target=/x,rw --mount=from=other,target=/o,rw --mount=type=ssh \\
    echo begun > /c/begun; echo begun; sleep 600
`;
  /** Until its step runs. */
  const startBuild = async (at: string, agent?: string) => {
    const ssh = agent === undefined ? [] : ["--ssh", agent];
    const client = buildx.start("build", ...ssh, "--secret", `id=s,src=${join(at, "Dockerfile")}`, at);
    // Read on to its end: a client whose output nobody takes dies of it.
    let told = "";
    client.stderr?.on("data", (chunk) => (told += String(chunk)));
    await expect.poll(() => told, { timeout: 60_000 }).toMatch(/\d begun/);
    return client;
  };
  const interrupt = async (client: ChildProcess, signal: NodeJS.Signals = "SIGINT"): Promise<void> => {
    const exited = client.exitCode === null && client.signalCode === null ? once(client, "exit") : Promise.resolve();
    client.kill(signal);
    await exited;
  };
  const left = () => [
    ...ownMounts(engine),
    ...readdirSync(join(engine.dataRoot, "build")),
    ...readdirSync(join(engine.dataRoot, "snapshots", "active")),
  ];

  it("leaves nothing of a step with mounts whose client is interrupted", async () => {
    const client = await startBuild(context("slow", { Dockerfile: slow }));
    expect(ownMounts(engine)).not.toEqual([]);
    await interrupt(client);
    await expect.poll(left, { timeout: 30_000 }).toEqual([]);
  });

  it("leaves nothing of one whose engine is killed, and lets the next build have its cache", async () => {
    const client = await startBuild(context("slow", { Dockerfile: slow }));
    expect(ownMounts(engine)).not.toEqual([]);
    await engine.crash();
    await interrupt(client, "SIGKILL");
    await engine.boot();
    await expect.poll(left, { timeout: 30_000 }).toEqual([]);
    const at = context("after", {
      Dockerfile: "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked ls /c\n",
    });
    expect(await build(at)).toMatch(/\d begun/);
  });
});

/** In the steps that run. */
function agentSockets({ dataRoot }: EngineProcess): readonly string[] {
  const builds = join(dataRoot, "build");
  return readdirSync(builds, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isSocket())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Targets below the engine's data root. */
function ownMounts({ dataRoot }: EngineProcess): readonly string[] {
  const lines = readFileSync("/proc/self/mounts", "utf8").split("\n");
  return lines.map((line) => line.split(" ")[1] ?? "").filter((target) => target.startsWith(dataRoot));
}

function filesBelow(root: string): readonly string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

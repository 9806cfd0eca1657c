/** The libraries that programs reach Docker by, each doing what its documentation shows. */
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { DockerClient } from "@docker/node-sdk";
import * as compose from "docker-compose";
import DockerModem from "docker-modem";
import Docker from "dockerode";
import { pack } from "tar-stream";
import { busyboxArchive } from "../support/busybox-image.ts";
import { composeCommand } from "../support/compose-client.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { runCommand } from "../support/run-command.ts";

const image = "libraries-test:1";

describe("the libraries", { timeout: 60_000 }, () => {
  let engine: EngineProcess;
  let socketPath: string;
  let files: string;

  beforeAll(async () => {
    files = mkdtempSync(join(realpathSync(tmpdir()), "berth-libraries-"));
    engine = await EngineProcess.start();
    socketPath = engine.host.slice("unix://".length);
    // Read by the libraries that find their engine by themselves.
    process.env["DOCKER_HOST"] = engine.host;
    process.env["DOCKER_CONFIG"] = join(engine.directory, "docker-config");
    process.env["TESTCONTAINERS_RYUK_DISABLED"] = "true";
    const archive = await busyboxArchive({ tags: [image] });
    expect(await runCommand("docker", ["load"], { env: { DOCKER_HOST: engine.host }, input: archive })).toMatchObject({
      code: 0,
    });
  });
  afterAll(async () => {
    rmSync(files, { recursive: true });
    await engine.remove();
    await assertNothingLeft(engine);
  });
  afterEach(async () => {
    const { stdout } = await engine.docker("ps", "-aq");
    const left = stdout.split("\n").filter((id) => id !== "");
    if (left.length > 0) await engine.docker("rm", "-f", ...left);
    expect(left, "containers that are left").toEqual([]);
  });

  it("dockerode: run, exec, logs, build, events, copies, networks", async () => {
    const docker = new Docker({ socketPath });
    const output = new PassThrough();
    const [{ StatusCode }, ran] = (await docker.run(image, ["sh", "-c", "echo hi; exit 3"], output)) as [
      { readonly StatusCode: number },
      Docker.Container,
    ];
    expect([StatusCode, String(output.read())]).toEqual([3, "hi\r\n"]);
    await ran.remove();

    const network = await docker.createNetwork({ Name: "node-net" });
    const events = (await docker.getEvents({ filters: { container: ["node-box"] } })) as Readable;
    const seen: string[] = [];
    events.on("data", (chunk: Buffer) => {
      for (const line of chunk.toString().trim().split("\n"))
        seen.push((JSON.parse(line) as { Action: string }).Action);
    });
    const container = await docker.createContainer({
      Image: image,
      name: "node-box",
      Cmd: ["sh", "-c", "echo started; sleep 1000"],
      HostConfig: { NetworkMode: "node-net" },
      StopSignal: "SIGKILL",
    });
    await container.start();
    const exec = await container.exec({
      Cmd: ["sh", "-c", "cat; echo err >&2"],
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
    });
    const stream = await exec.start({ hijack: true, stdin: true });
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    docker.modem.demuxStream(stream, stdout, stderr);
    const ended = new Promise((resolve) => stream.once("end", resolve));
    stream.end("through cat");
    await ended;
    expect([String(stdout.read()), String(stderr.read())]).toEqual(["through cat", "err\n"]);
    expect(await exec.inspect()).toMatchObject({ Running: false, ExitCode: 0 });
    await container.putArchive(tarOf("note.txt", "copied"), { path: "/tmp" });
    expect((await textOf(await container.getArchive({ path: "/tmp/note.txt" }))).includes("copied")).toBe(true);
    expect((await container.logs({ stdout: true, stderr: true })).toString()).toContain("started\n");
    const built = await docker.buildImage(tarOf("Dockerfile", `FROM ${image}\nRUN echo built > /built\n`), {
      t: "node-built:1",
    });
    await new Promise((resolve, reject) =>
      docker.modem.followProgress(built, (error, result) => (error === null ? resolve(result) : reject(error))),
    );
    await container.stop();
    await container.remove();
    await network.remove();
    await docker.getImage("node-built:1").remove();
    await expect.poll(() => seen).toContain("destroy");
    (events as unknown as { destroy(): void }).destroy();
    expect(seen).toEqual(expect.arrayContaining(["create", "start", "die", "stop", "destroy"]));
  });

  it("docker-modem: a request by hand, and errors with their status", async () => {
    const modem = new DockerModem({ socketPath });
    const dial = (options: DockerModem.DialOptions) =>
      new Promise<unknown>((resolve, reject) =>
        modem.dial(options, (error: unknown, data: unknown) => (error ? reject(error) : resolve(data))),
      );
    expect(await dial({ path: "/_ping", method: "GET", statusCodes: { 200: true } })).toBeDefined();
    await expect(
      dial({ path: "/containers/nothing/json", method: "GET", statusCodes: { 200: true, 404: "no such container" } }),
    ).rejects.toMatchObject({ statusCode: 404, reason: "no such container" });
  });

  it("@docker/node-sdk: create, wait, logs, inspect, remove, images", async () => {
    const client = await DockerClient.fromDockerConfig();
    const { Id } = await client.containerCreate(
      { Image: image, Cmd: ["sh", "-c", "echo out; echo err >&2"], Labels: { sdk: "1" } },
      { name: "sdk-box" },
    );
    await client.containerStart(Id);
    expect(await client.containerWait(Id)).toMatchObject({ StatusCode: 0 });
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    await client.containerLogs(Id, stdout, stderr, { stdout: true, stderr: true });
    expect([String(stdout.read()), String(stderr.read())]).toEqual(["out\n", "err\n"]);
    expect(await client.containerInspect(Id)).toMatchObject({ Name: "/sdk-box", State: { Status: "exited" } });
    await client.containerDelete(Id);
    expect((await client.imageList()).flatMap(({ RepoTags }) => RepoTags ?? [])).toContain(image);
  });

  it("docker-compose: up, ps, exec, logs, down", async () => {
    const [executablePath, ...options] = composeCommand;
    const executable = options.length === 0 ? { executable: { executablePath, standalone: true as const } } : {};
    const config = `services: {box: {image: "${image}", command: "sh -c 'echo ready; sleep 1000'", stop_signal: SIGKILL}}`;
    writeFileSync(join(files, "docker-compose.yml"), config);
    const where = { cwd: files, log: false, ...(executable as object) };
    expect(await compose.upAll(where)).toMatchObject({ exitCode: 0 });
    expect((await compose.ps(where)).data.services).toMatchObject([{ state: expect.stringContaining("Up") }]);
    expect((await compose.exec("box", "echo inside", { ...where, commandOptions: ["-T"] })).out).toBe("inside\n");
    expect((await compose.logs("box", where)).out).toContain("ready");
    expect(await compose.down(where)).toMatchObject({ exitCode: 0 });
  });

  it("testcontainers: waits for a log, a port and health; exec, files, networks, a build", async () => {
    const { GenericContainer, Network, Wait } = await import("testcontainers");
    await using network = await new Network().start();
    await using server = await new GenericContainer(image)
      .withCommand(["sh", "-c", "echo serving; exec httpd -f -p 80 -h /srv"])
      .withNetwork(network)
      .withNetworkAliases("server")
      .withExposedPorts(80)
      .withCopyContentToContainer([{ content: "copied in", target: "/srv/index.html" }])
      .withHealthCheck({
        test: ["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1/"],
        interval: 500,
        timeout: 3000,
        retries: 20,
      })
      .withWaitStrategy(Wait.forAll([Wait.forLogMessage("serving"), Wait.forListeningPorts(), Wait.forHealthCheck()]))
      .start();
    const page = await fetch(`http://${server.getHost()}:${server.getMappedPort(80)}/`);
    expect(await page.text()).toBe("copied in");
    writeFileSync(
      join(files, "Dockerfile"),
      `FROM ${image}\nARG WORD=none\nRUN echo $WORD > /word\nCMD ["sleep", "1000"]\n`,
    );
    const built = await GenericContainer.fromDockerfile(files).withBuildArgs({ WORD: "argued" }).build("tc-built:1");
    await using client = await built.withNetwork(network).start();
    expect(await client.exec(["cat", "/word"])).toMatchObject({ exitCode: 0, output: "argued\n" });
    expect((await client.exec(["wget", "-q", "-O", "-", "http://server/"])).output).toBe("copied in");
    await client.copyFilesToContainer([{ source: join(files, "Dockerfile"), target: "/tmp/copied" }]);
    expect((await client.exec(["head", "-n", "1", "/tmp/copied"])).output).toBe(`FROM ${image}\n`);
    const logs = await textOf(await server.logs());
    expect(logs).toContain("serving");
  });

  it("docker-py: what its README shows", async () => {
    const program = new URL("library-programs/docker-py.py", import.meta.url).pathname;
    const env = { DOCKER_HOST: engine.host, DOCKER_CONFIG: join(engine.directory, "docker-config") };
    const { code, stdout, stderr } = await runCommand("python3", [program, image], { env });
    expect({ code, stdout: stdout.trim(), stderr }).toEqual({ code: 0, stdout: "ok", stderr: "" });
  });
});

function tarOf(name: string, text: string): Readable {
  const archive = pack();
  archive.entry({ name }, text);
  archive.finalize();
  return Readable.from(archive as AsyncIterable<Buffer>);
}

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = "";
  const timer = setTimeout(() => (stream as Readable).destroy(), 1000);
  try {
    for await (const chunk of stream) text += chunk.toString();
  } catch {
    // A log that is followed has no end: cut off above.
  } finally {
    clearTimeout(timer);
  }
  return text;
}

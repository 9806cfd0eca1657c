/** The docker client on Berth, and Berth's own, with a real registry on loopback: what goes out comes back, whatever the line does. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { startCuttingProxy } from "../support/cutting-proxy.ts";
import { EngineProcess, entry } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { freePort, passwordProtected, type RegistryProcess, startRegistry } from "../support/registry.ts";
import { type CommandResult, runCommand } from "../support/run-command.ts";

describe("a registry", () => {
  const closers = new AsyncDisposableStack();
  let registry: RegistryProcess;
  let engine: EngineProcess;
  /** Of the image that every test starts from; it is loaded anew where it is missing. */
  let archive: string;

  beforeAll(async () => {
    registry = closers.use(await startRegistry());
    engine = await EngineProcess.start({ flags: ["--registry-mirror", `http://${registry.host}`] });
    closers.defer(async () => {
      await engine.remove();
      await assertNothingLeft(engine);
    });
    archive = join(engine.directory, "image.tar");
    // Random bytes don't compress: the layer stays large enough to be cut.
    const files = { "/etc/motd": "came back\n", "/noise": randomBytes(3 << 20).toString("base64") };
    writeFileSync(archive, await busyboxArchive({ tags: ["sample:1"], cmd: ["cat", "/etc/motd"], files }));
  });
  afterAll(async () => {
    await closers.disposeAsync();
  });

  const docker = async (...words: readonly string[]) => succeed(await engine.docker(...words));
  const berth = async (...words: readonly string[]) => succeed(await engine.berth(...words));
  const idOf = async (image: string) => (await docker("image", "inspect", "-f", "{{.Id}}", image)).trim();

  /** Loads the sample and names it `reference` only. */
  async function sampleAs(reference: string): Promise<void> {
    await docker("load", "-i", archive);
    await docker("tag", "sample:1", reference);
    await docker("rmi", "sample:1");
  }

  /** Pushes the sample as `reference` and removes it here, with every layer. Returns its id and the digest that push told. */
  async function pushAway(reference: string): Promise<{ readonly id: string; readonly digest: string }> {
    await sampleAs(reference);
    const pushed = await docker("push", reference);
    const digest = /: digest: (sha256:[0-9a-f]{64}) size: \d+$/m.exec(pushed)?.[1];
    if (digest === undefined) throw new Error(`no digest in: ${pushed}`);
    const id = await idOf(reference);
    expect(await docker("rmi", reference)).toContain(`Deleted: ${id}`);
    expect(await docker("images", "-aq")).toBe("");
    return { id, digest };
  }

  it("gives back the image that was pushed, by tag and by digest", async () => {
    const name = `${registry.host}/team/app`;
    const { id, digest } = await pushAway(`${name}:1`);
    const pulled = await docker("pull", `${name}:1`);
    expect(pulled).toContain(`Digest: ${digest}\nStatus: Downloaded newer image for ${name}:1\n`);
    const inspect = ["image", "inspect", "-f", "{{.Id}} {{json .RepoTags}} {{json .RepoDigests}}"] as const;
    expect(await docker(...inspect, `${name}:1`)).toBe(`${id} ["${name}:1"] ["${name}@${digest}"]\n`);
    expect(await docker("run", "--rm", `${name}:1`)).toBe("came back\n");
    expect(await docker("pull", `${name}:1`)).toContain(`Status: Image is up to date for ${name}:1`);
    expect(await docker("push", `${name}:1`)).toContain("Layer already exists");

    await docker("rmi", `${name}:1`);
    await docker("pull", `${name}@${digest}`);
    expect(await docker(...inspect, `${name}@${digest}`)).toBe(`${id} [] ["${name}@${digest}"]\n`);
    expect(await docker("run", "--rm", `${name}@${digest}`)).toBe("came back\n");
    await docker("rmi", `${name}@${digest}`);
    expect(await docker("images", "-aq")).toBe("");
  });

  it("takes and gives every tag of a repository", async () => {
    const name = `${registry.host}/every/tag`;
    const tags = [`${name}:one`, `${name}:two`];
    await sampleAs(`${name}:one`);
    await docker("tag", ...tags);
    const pushed = await docker("push", "--all-tags", name);
    expect(pushed.match(/^(one|two): digest: /gm)).toHaveLength(2);
    for (const client of [docker, berth]) {
      await docker("rmi", ...tags);
      await client("pull", "--all-tags", name);
      const listed = await docker("images", "--format", "{{.Repository}}:{{.Tag}}", name);
      expect(listed.trim().split("\n").toSorted()).toEqual(tags);
    }
    await docker("rmi", ...tags);
  });

  it("stands in for docker.io as a mirror", async () => {
    const { id, digest } = await pushAway(`${registry.host}/library/mirrored:1`);
    const ran = await engine.docker("run", "--rm", "mirrored:1");
    expect(ran).toMatchObject({ code: 0, stdout: "came back\n" });
    expect(ran.stderr).toContain("Unable to find image 'mirrored:1' locally");
    expect(ran.stderr).toContain("1: Pulling from library/mirrored");
    const named = await docker("image", "inspect", "-f", "{{.Id}} {{.RepoTags}} {{.RepoDigests}}", "mirrored:1");
    expect(named).toBe(`${id} [mirrored:1] [mirrored@${digest}]\n`);
    await docker("rmi", "mirrored:1");
  });

  it("wants a password: login, refusal, logout", async () => {
    await using locked = await startRegistry(passwordProtected);
    const name = `${locked.host}/private/app:1`;
    await sampleAs(name);
    expectFailure(await engine.docker("push", name), "no basic auth credentials");
    expectFailure(await engine.docker("login", "-u", "bob", "-p", "guess", locked.host), "401 Unauthorized");
    expectFailure(await engine.berth("login", "-u", "bob", "-p", "guess", locked.host), "401 Unauthorized");
    expect(await docker("login", "-u", "bob", "-p", "s3cret", locked.host)).toContain("Login Succeeded");
    await docker("push", name);
    await docker("rmi", name);
    await docker("logout", locked.host);
    expectFailure(await engine.docker("pull", name), "no basic auth credentials");
    expect(await docker("images", "-aq")).toBe("");

    expect(await berth("login", "-u", "bob", "-p", "s3cret", locked.host)).toContain("Login Succeeded");
    await berth("pull", name);
    expect(await docker("run", "--rm", name)).toBe("came back\n");
    await docker("rmi", name);
    writeFileSync(join(locked.root, "Dockerfile"), `FROM ${name}\nLABEL built=yes\n`);
    for (const client of [docker, berth]) {
      expect(await client("build", "-t", "from-private:1", locked.root)).toContain("1: Pulling from private/app");
      await docker("rmi", "from-private:1", name);
    }
  });

  it("is pulled from and pushed to over a line that is cut in the middle of a blob", async () => {
    await using proxy = await startCuttingProxy(registry.port);
    const { id } = await pushAway(`${registry.host}/team/big:1`);
    const size = await largestBlob(registry, "team/big", "1");
    proxy.limit = Math.floor(size / 2);
    proxy.remainingCuts = 1;
    await docker("pull", `${proxy.host}/team/big:1`);
    expect(proxy.cuts).toBe(1);
    // Gone on with, not begun again: what was sent twice is less than what the cut connection had brought.
    expect(proxy.bytes).toBeGreaterThan(size);
    expect(proxy.bytes).toBeLessThan(size * 1.3);
    expect(await idOf(`${proxy.host}/team/big:1`)).toBe(id);
    expect(await docker("run", "--rm", `${proxy.host}/team/big:1`)).toBe("came back\n");

    await docker("tag", `${proxy.host}/team/big:1`, `${proxy.host}/again/big:1`);
    await docker("rmi", `${proxy.host}/team/big:1`);
    // Into an empty registry: nothing is there to be mounted instead of sent.
    await using empty = await startRegistry();
    await using line = await startCuttingProxy(empty.port);
    line.requestLimit = Math.floor(size / 2);
    line.remainingCuts = 1;
    await docker("tag", `${proxy.host}/again/big:1`, `${line.host}/again/big:1`);
    await docker("push", `${line.host}/again/big:1`);
    expect(line.cuts).toBe(1);
    await docker("rmi", `${proxy.host}/again/big:1`, `${line.host}/again/big:1`);
    await docker("pull", `${empty.host}/again/big:1`);
    expect(await idOf(`${empty.host}/again/big:1`)).toBe(id);
    await docker("rmi", `${empty.host}/again/big:1`);
  });

  it("may be dead: a clear error in bounded time", async () => {
    const host = `127.0.0.1:${await freePort()}`;
    await sampleAs(`${host}/x:1`);
    const started = performance.now();
    const results = await Promise.all([
      engine.docker("pull", `${host}/y:1`),
      engine.docker("push", `${host}/x:1`),
      engine.docker("login", "-u", "bob", "-p", "s3cret", host),
      engine.docker("run", "--rm", `${host}/y:1`),
      engine.berth("pull", `${host}/y:1`),
    ]);
    expect(performance.now() - started).toBeLessThan(30_000);
    for (const result of results) expectFailure(result, `cannot reach registry ${host}: connection refused`);
    expect(results.map(({ code }) => code)).toEqual([1, 1, 1, 125, 1]);
    await docker("rmi", `${host}/x:1`);
  });

  it("does not have everything: Docker's words for it", async () => {
    const name = `${registry.host}/nothing`;
    const missing = `Error response from daemon: manifest for ${name}:1 not found: manifest unknown: manifest unknown`;
    expect(await engine.docker("pull", `${name}:1`)).toMatchObject({ code: 1, stderr: `${missing}\n` });
    const run = await engine.docker("run", "--rm", `${name}:1`);
    expect(run.code).toBe(125);
    expect(run.stderr).toContain(`Unable to find image '${name}:1' locally\ndocker: ${missing}\n`);
    expect(await engine.docker("push", `${name}:1`)).toMatchObject({
      code: 1,
      stdout: `The push refers to repository [${name}]\n`,
      stderr: `An image does not exist locally with the tag: ${name}\n`,
    });
    expectFailure(await engine.docker("pull", `${registry.host}/Upper:1`), "must be lowercase");
  });

  it("is shown in progress by berth: steps in a pipe, bars on a terminal", async () => {
    const name = `${registry.host}/team/shown:1`;
    await sampleAs(name);
    const pushed = await berth("push", name);
    expect(pushed).toContain(`The push refers to repository [${registry.host}/team/shown]\n`);
    expect(pushed).toMatch(/^[0-9a-f]{12}: (Pushed|Mounted from team\/\w+)$/m);
    expect(pushed).toMatch(/^1: digest: sha256:[0-9a-f]{64} size: \d+$/m);
    await docker("rmi", name);

    const command = `stty cols 120; ${process.execPath} --disable-warning=ExperimentalWarning ${entry} -H ${engine.host} pull ${name}`;
    const { stdout } = await runCommand("script", ["-qec", command, "/dev/null"]);
    expect(stdout).toMatch(/[0-9a-f]{12}: Downloading \[=*>? *\] \S+B\/\S+MB/);
    expect(stdout).toMatch(/[0-9a-f]{12}: Pull complete/);
    expect(stdout).toContain(`Status: Downloaded newer image for ${name}`);
    await docker("rmi", name);

    await berth("pull", "-q", name);
    expect(await berth("run", "--rm", name)).toBe("came back\n");
    await berth("rmi", name);
    expect(await docker("images", "-aq")).toBe("");
  });
});

function succeed({ code, stdout, stderr }: CommandResult): string {
  if (code !== 0) throw new Error(`ended with ${code}: ${stderr || stdout}`);
  return stdout;
}

function expectFailure(result: CommandResult, reason: string): void {
  expect(result.code, result.stdout).not.toBe(0);
  expect(result.stderr).toContain(reason);
}

/** Bytes of a repository's largest layer, as the registry keeps it. */
async function largestBlob({ host }: RegistryProcess, repository: string, tag: string): Promise<number> {
  const types = ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
  const response = await fetch(`http://${host}/v2/${repository}/manifests/${tag}`, {
    headers: { Accept: types.join(", ") },
  });
  const manifest = (await response.json()) as { readonly layers: readonly { readonly size: number }[] };
  return Math.max(...manifest.layers.map(({ size }) => size));
}

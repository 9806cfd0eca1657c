/**
 * The reference example, word for word but for the host's port: a base image from the distribution's mirror, a build with a real
 * apt-get in it, a container that everyone reaches, and nothing left behind. With both clients.
 */
import { createSocket } from "node:dgram";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EngineProcess } from "../support/engine-process.ts";
import { guestKernelPackage } from "../support/guest-kernel.ts";
import { assertNothingLeft, tracesOf } from "../support/leaks.ts";
import { freePort, type RegistryProcess, startRegistry } from "../support/registry.ts";
import type { CommandResult } from "../support/run-command.ts";

const example = new URL("../../examples/nginx", import.meta.url).pathname;
const page = "Welcome to nginx!";

describe("the reference example", () => {
  const closers = new AsyncDisposableStack();
  let registry: RegistryProcess;
  let engine: EngineProcess;

  beforeAll(async () => {
    registry = closers.use(await startRegistry());
    engine = await EngineProcess.start({
      environment: { BERTH_GUEST_KERNEL: guestKernelPackage() },
      flags: ["--registry-mirror", `http://${registry.host}`],
      commandTimeoutMs: 280_000,
    });
    closers.defer(async () => {
      await engine.remove();
      await assertNothingLeft(engine);
    });
    succeed(await engine.berth("image", "bootstrap", "debian:bookworm"));
  });
  afterAll(async () => {
    await closers.disposeAsync();
  });

  it.each(["docker", "berth"] as const)("%s builds it, runs it, reaches it and removes it", async (name) => {
    const client = async (...words: readonly string[]) => succeed(await engine[name](...words));
    const built = await client("build", "-t", "mynginx", example);
    // From the mirror, in the container: not from the cache of the other client's build.
    expect(built).toContain("Setting up nginx");
    expect(built).toContain("Successfully tagged mynginx:latest");
    // What the engine keeps as long as it runs: its bridge, table and control group.
    const before = tracesOf(engine);

    const port = String(await freePort());
    await client("network", "create", "example-net");
    await client("run", "-d", "--name", "example-web", "-p", `${port}:80`, "mynginx");
    const address = await hostAddress();
    expect(await pageOf(`http://localhost:${port}/`)).toContain(page);
    expect(await pageOf(`http://127.0.0.1:${port}/`)).toContain(page);
    expect(await pageOf(`http://${address}:${port}/`)).toContain(page);
    await client("network", "connect", "example-net", "example-web");
    const neighbour = ["run", "--rm", "--network", "example-net", "debian:bookworm"] as const;
    expect(await client(...neighbour, ...fetchInside("example-web", "80"))).toContain(page);
    expect(await client("exec", "example-web", ...fetchInside(address, port))).toContain(page);

    // Once more, with a kernel of its own, beside the container: each finds the other by its name.
    const machinePort = String(await freePort());
    const asMachine = ["run", "-d", ...(name === "docker" ? ["--runtime", "vm"] : ["--vm"]), "--name", "example-vm"];
    await client(...asMachine, "--network", "example-net", "-p", `${machinePort}:80`, "mynginx");
    expect(await pageOf(`http://127.0.0.1:${machinePort}/`)).toContain(page);
    for (const instance of ["example-vm", "example-web"]) {
      await client("exec", instance, "sh", "-c", `uname -r > /var/www/html/kernel; hostname >> /var/www/html/kernel`);
    }
    const kernelOf = async (from: string, of: string) =>
      await client("exec", from, ...fetchInside(of, "80", "/kernel"));
    expect(await kernelOf("example-vm", "example-web")).toContain(`${release()}\n`);
    expect(await kernelOf("example-web", "example-vm")).toContain("200 OK");
    expect(await kernelOf("example-web", "example-vm")).not.toContain(`${release()}\n`);
    await client("rm", "-f", "example-vm");

    await client("stop", "example-web");
    expect(await client("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "example-web")).toBe("exited 0\n");
    await client("rm", "example-web");
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
    expect(await client("ps", "-aq")).toBe("");
    await client("network", "rm", "example-net");
    // The machine's template is made meanwhile, by a machine that is no instance.
    await expect.poll(() => tracesOf(engine), { timeout: 60_000 }).toEqual(before);
    await client("rmi", "mynginx");
  });

  it("builds from its own first line, ubuntu:18.04, through a registry mirror", async () => {
    const docker = async (...words: readonly string[]) => succeed(await engine.docker(...words));
    const standIn = `${registry.host}/library/ubuntu:18.04`;
    await docker("tag", "debian:bookworm", standIn);
    await docker("push", standIn);
    const id = await docker("inspect", "-f", "{{.Id}}", standIn);
    await docker("rmi", standIn, "debian:bookworm");
    expect(await docker("images", "-aq")).toBe("");

    const context = join(engine.directory, "ubuntu");
    mkdirSync(context);
    const dockerfile = readFileSync(join(example, "Dockerfile"), "utf8").replace(/^FROM .*/, "FROM ubuntu:18.04");
    writeFileSync(join(context, "Dockerfile"), dockerfile);
    const built = await docker("build", "-t", "mynginx", context);
    expect(built).toContain("Step 1/4 : FROM ubuntu:18.04");
    expect(built).toContain("18.04: Pulling from library/ubuntu");
    expect(built).toContain("Status: Downloaded newer image for ubuntu:18.04");
    expect(await docker("inspect", "-f", "{{.Id}}", "ubuntu:18.04")).toBe(id);

    const port = String(await freePort());
    await docker("run", "-d", "--rm", "--name", "example-ubuntu", "-p", `${port}:80`, "mynginx");
    expect(await pageOf(`http://127.0.0.1:${port}/`)).toContain(page);
    await docker("stop", "example-ubuntu");
    await expect.poll(() => docker("ps", "-aq")).toBe("");
    await docker("rmi", "mynginx", "ubuntu:18.04");
    expect(await docker("images", "-aq")).toBe("");
  });
});

function succeed({ code, stdout, stderr }: CommandResult): string {
  if (code !== 0) throw new Error(`ended with ${code}: ${stderr || stdout}`);
  return stdout;
}

/** What a page holds, as soon as its server listens. */
async function pageOf(url: string): Promise<string> {
  let failure: unknown;
  for (let tries = 0; tries < 50; tries++) {
    try {
      return await (await fetch(url, { signal: AbortSignal.timeout(5_000) })).text();
    } catch (error) {
      failure = error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  throw new Error(`${url} does not answer`, { cause: failure });
}

/** A command that prints a page: the image has bash and no HTTP client. */
function fetchInside(host: string, port: string, path = "/"): readonly string[] {
  const request = `GET ${path} HTTP/1.0\\r\\n\\r\\n`;
  return ["timeout", "10", "bash", "-c", `exec 3<>/dev/tcp/${host}/${port}; printf '${request}' >&3; cat <&3`];
}

/** The host's own address on its network: where it would send from. Nothing is sent. */
async function hostAddress(): Promise<string> {
  const socket = createSocket("udp4");
  try {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once("error", reject);
    socket.once("connect", resolve);
    socket.connect(53, "198.51.100.1");
    await promise;
    return socket.address().address;
  } finally {
    socket.close();
  }
}

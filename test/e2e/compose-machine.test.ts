/** A project of the real docker compose, of which one service is a virtual machine (`runtime: vm`): like any other, and gone with the rest. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { ComposeClient } from "../support/compose-client.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { guestKernelPackage } from "../support/guest-kernel.ts";
import { assertNothingLeft, tracesOf } from "../support/leaks.ts";
import { runCommand } from "../support/run-command.ts";

/** The container waits for the machine to be healthy; both serve one volume. */
const file = `
name: mixed
services:
  store:
    image: busybox
    runtime: vm
    mem_limit: 128m
    command: sh -c 'echo "from the store" > /data/page; echo serving; exec httpd -f -p 8080 -h /data'
    volumes: ["shared:/data"]
    stop_signal: SIGKILL
    healthcheck:
      test: wget -q -O /dev/null http://127.0.0.1:8080/page
      interval: 500ms
      timeout: 10s
      retries: 60
  web:
    image: busybox
    command: httpd -f -p 80 -h /srv
    volumes: ["shared:/srv"]
    ports: ["127.0.0.1::80"]
    stop_signal: SIGKILL
    depends_on:
      store: { condition: service_healthy }
volumes:
  shared:
`;

describe("docker compose with a machine among its services", () => {
  const closers = new AsyncDisposableStack();
  let engine: EngineProcess;
  let compose: ComposeClient;
  let before: readonly string[];

  beforeAll(async () => {
    if (!existsSync("dist/guest/berth-vmm")) execFileSync("sh", ["guest/build.sh"]);
    const project = mkdtempSync(join(realpathSync(tmpdir()), "berth-compose-vm-"));
    closers.defer(() => rmSync(project, { recursive: true }));
    writeFileSync(join(project, "compose.yaml"), file);
    engine = await EngineProcess.start({ environment: { BERTH_GUEST_KERNEL: guestKernelPackage() } });
    closers.defer(async () => {
      await engine.remove();
      await assertNothingLeft(engine);
    });
    compose = new ComposeClient(engine, project);
    const env = { DOCKER_HOST: engine.host };
    const archive = await busyboxArchive({ tags: ["busybox:latest"] });
    expect(await runCommand("docker", ["load"], { env, input: archive })).toMatchObject({ code: 0 });
    // What the engine keeps as long as it runs comes with the first container.
    expect(await engine.docker("run", "--rm", "-p", "80", "busybox", "true")).toMatchObject({ code: 0 });
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
  const inspect = (format: string, name: string) => docker("inspect", "-f", format, name);

  it("starts the container when the machine is healthy", async () => {
    await compose.output("up", "--detach");
    expect(await compose.containers()).toMatchObject({
      "mixed-store-1": { State: "running", Health: "healthy" },
      "mixed-web-1": { State: "running" },
    });
    expect(await inspect("{{.HostConfig.Runtime}}", "mixed-store-1")).toBe("vm");
    expect(await inspect("{{.HostConfig.Runtime}}", "mixed-web-1")).not.toBe("vm");
    const [healthy, started] = await Promise.all([
      inspect('{{(index .State.Health.Log 0).Start.Format "2006-01-02T15:04:05.000Z07:00"}}', "mixed-store-1"),
      inspect("{{.State.StartedAt}}", "mixed-web-1"),
    ]);
    expect(Date.parse(started)).toBeGreaterThan(Date.parse(healthy));
  });

  it("lets both find each other by the services' names, and share a volume", async () => {
    expect(await compose.output("exec", "-T", "web", "wget", "-qO-", "http://store:8080/page")).toBe(
      "from the store\n",
    );
    await compose.output("exec", "-T", "web", "sh", "-c", "echo from the container > /srv/other");
    const seen = async () => await compose.output("exec", "-T", "store", "wget", "-qO-", "http://web/other");
    expect(await seen()).toBe("from the container\n");
    expect(await compose.output("exec", "-T", "store", "cat", "/data/other")).toBe("from the container\n");
    const address = (await compose.output("port", "web", "80")).trim();
    expect(await (await fetch(`http://${address}/page`)).text()).toBe("from the store\n");
  });

  it("runs commands in the machine, with their exit codes, in a kernel of its own, and tells its log", async () => {
    expect((await compose.run("exec", "-T", "store", "sh", "-c", "exit 7")).code).toBe(7);
    const kernels = await Promise.all(
      ["store", "web"].map((service) =>
        compose.output("exec", "-T", service, "cat", "/proc/sys/kernel/random/boot_id"),
      ),
    );
    expect(kernels[0]).not.toBe(kernels[1]);
    expect(await compose.output("logs", "--no-log-prefix", "store")).toContain("serving\n");
    expect(await docker("logs", "mixed-store-1")).toBe("serving");
    expect(await compose.output("top", "store")).toContain("httpd -f -p 8080 -h /data");
  });

  it("leaves it as it is when nothing has changed, and comes down with nothing left", async () => {
    const id = await inspect("{{.Id}}", "mixed-store-1");
    await compose.output("up", "--detach");
    expect(await inspect("{{.Id}}", "mixed-store-1")).toBe(id);
    await compose.output("down", "--volumes");
    expect(await docker("ps", "-aq")).toBe("");
    expect(await docker("volume", "ls", "-q")).toBe("");
    expect(await docker("network", "ls", "-q", "--filter", "type=custom")).toBe("");
    const left = () => tracesOf(engine).filter((trace) => !before.includes(trace) && !trace.includes(" daemon "));
    await expect.poll(left, { timeout: 30_000, interval: 200 }).toEqual([]);
  });
});

/** Networks that come to a running machine, and go: booted, from a template, and from the pool; and the engine's deaths in between. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { guestKernelPackage } from "../support/guest-kernel.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { runCommand } from "../support/run-command.ts";

const image = "berth-networks:1";
const patience = { timeout: 60_000, interval: 100 };

describe("a running machine's networks", () => {
  let engine: EngineProcess;

  beforeAll(async () => {
    if (!existsSync("dist/guest/berth-vmm")) execFileSync("sh", ["guest/build.sh"]);
    const environment = { BERTH_GUEST_KERNEL: guestKernelPackage() };
    engine = await EngineProcess.start({ environment, flags: ["--machine-pool", "1"] });
    const input = await busyboxArchive({ tags: [image] });
    expect(await runCommand("docker", ["load"], { env: { DOCKER_HOST: engine.host }, input })).toMatchObject({
      code: 0,
    });
    await docker("network", "create", "late");
    await docker("run", "-d", "--name", "peer", "--network", "late", "--stop-signal", "KILL", image, "sleep", "1000");
  });
  afterAll(async () => {
    await engine.remove();
    await assertNothingLeft(engine);
  });

  const docker = async (...words: readonly string[]) => {
    const { code, stdout, stderr } = await engine.docker(...words);
    if (code !== 0) throw new Error(`docker ${words.join(" ")}: ${stdout}${stderr}`);
    return stdout.trim();
  };
  const exec = (name: string, script: string) => docker("exec", name, "sh", "-c", script);
  const run = (name: string, ...words: readonly string[]) =>
    docker("run", "-d", "--runtime", "vm", "--name", name, ...words, image, "httpd", "-f", "-p", "80", "-h", "/etc");
  const links = (name: string) => exec(name, "ls /sys/class/net | tr '\\n' ' '");
  const waiting = async () => {
    using client = engine.client();
    const info = await client.call<{ readonly machinePool: { readonly waiting: number } }>("GET", "/berth/info");
    return info.machinePool.waiting;
  };

  /** On the bridge, then on both, then on the other alone, and back: each time with its names, routes and published port. */
  const moveAbout = async (name: string) => {
    const port = (await docker("port", name, "80/tcp")).split(":").at(-1) ?? "";
    const answers = async () => {
      const ask = () => fetch(`http://127.0.0.1:${port}/hostname`).then(({ status }) => status, String);
      await expect.poll(ask, patience).toBe(200);
    };
    await answers();
    await docker("network", "connect", "--alias", "web", "late", name);
    expect(await links(name)).toBe("eth0 eth1 lo");
    expect(
      await exec(name, "wget -qO /dev/null http://web/hostname && ping -c1 -W10 peer > /dev/null && echo both"),
    ).toBe("both");
    expect(await exec("peer", `wget -qO /dev/null http://web/hostname && nslookup ${name} > /dev/null; echo $?`)).toBe(
      "0",
    );
    await docker("network", "disconnect", "bridge", name);
    expect(await links(name)).toBe("eth1 lo");
    const gateway = await docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "late");
    expect(await exec(name, "ip route | grep default")).toBe(`default via ${gateway} dev eth1`);
    expect(await exec(name, "grep nameserver /etc/resolv.conf")).toBe(`nameserver ${gateway}`);
    await answers();
    await docker("network", "connect", "bridge", name);
    expect(await links(name)).toBe("eth0 eth1 lo");
    await docker("network", "disconnect", "late", name);
    expect(await links(name)).toBe("eth0 lo");
    expect(await exec(name, "cat /etc/hosts")).toContain(
      `${await docker("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", name)}\t`,
    );
    expect(await exec("peer", "nslookup web > /dev/null 2>&1; echo $?")).toBe("1");
    await answers();
  };

  it("come and go when it was booted, and when it comes from a template or the pool", async () => {
    await run("booted", "-p", "127.0.0.1::80");
    await moveAbout("booted");
    await docker("rm", "-f", "booted");
    await expect.poll(waiting, patience).toBe(1);
    await run("pooled", "-p", "127.0.0.1::80");
    await moveAbout("pooled");
    // Limits that no waiting machine has.
    await run("restored", "-p", "127.0.0.1::80", "--oom-score-adj", "10");
    await moveAbout("restored");
    expect(engine.log()).not.toMatch(/could not be (restored|taken over)/);
  });

  it("are refused by name when it has no card left, and then are as they were", async () => {
    for (const name of ["second", "third"]) await docker("network", "create", name);
    await docker("network", "connect", "second", "restored");
    const refused = await engine.docker("network", "connect", "third", "restored");
    expect(refused.stderr).toContain("all 2 network cards of the machine are in use");
    expect(await links("restored")).toBe("eth0 eth1 lo");
    expect(await docker("network", "inspect", "-f", "{{len .Containers}}", "third")).toBe("0");
    await docker("network", "disconnect", "second", "restored");
    await docker("network", "rm", "second", "third");
  });

  it("stay when the engine is killed, and go on coming and going after its start", async () => {
    await docker("network", "connect", "--alias", "web", "late", "pooled");
    await engine.crash();
    await engine.boot();
    expect(await exec("pooled", "ping -c1 -W10 peer > /dev/null && echo reached")).toBe("reached");
    await docker("network", "disconnect", "late", "pooled");
    await docker("pause", "pooled");
    const frozen = await engine.docker("network", "connect", "late", "pooled");
    expect(frozen.stderr).toContain("whose own agent has to do that, and it is not running");
    await docker("unpause", "pooled");
    expect(await links("pooled")).toBe("eth0 lo");
    await docker("rm", "-f", "pooled", "restored", "peer");
    await docker("network", "rm", "late");
  });
});

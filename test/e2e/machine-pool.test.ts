/** Machines that wait in a pool, and become instances: quick, like any other, somebody of their own, and gone in any order of deaths. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { guestKernelPackage } from "../support/guest-kernel.ts";
import { assertNothingLeft } from "../support/leaks.ts";

const image = "berth-pool:1";
const size = 2;
const patience = { timeout: 60_000, interval: 50 };

describe("a pool of machines", () => {
  let engine: EngineProcess;

  beforeAll(async () => {
    if (!existsSync("dist/guest/berth-vmm")) execFileSync("sh", ["guest/build.sh"]);
    const environment = { BERTH_GUEST_KERNEL: guestKernelPackage() };
    engine = await EngineProcess.start({ environment, flags: ["--machine-pool", String(size)] });
    const scratch = mkdtempSync(join(tmpdir(), "berth-pool-"));
    writeFileSync(join(scratch, "image.tar"), await busyboxArchive({ tags: [image] }));
    await engine.docker("load", "-i", join(scratch, "image.tar"));
    rmSync(scratch, { recursive: true });
    expect(await run("--rm", image, "true")).toEqual({ code: 0, stdout: "", stderr: "" });
  });
  afterAll(async () => {
    await engine.remove();
    await assertNothingLeft(engine);
  });

  const run = (...words: readonly string[]) => engine.docker("run", "--runtime", "vm", ...words);

  const waiting = async () => {
    using client = engine.client();
    const info = await client.call<{ readonly machinePool: { readonly waiting: number } }>("GET", "/berth/info");
    return info.machinePool.waiting;
  };
  const filled = () => expect.poll(waiting, patience).toBe(size);

  /** QEMU of an instance from the pool: in the instance's control group, and no child of the instance's berth-vmm. */
  const adopted = async (name: string) => {
    const { stdout } = await engine.docker("inspect", "-f", "{{.Id}} {{.State.Pid}}", name);
    const [id = "", pid = ""] = stdout.trim().split(" ");
    const qemus = readdirSync("/proc").filter((entry) => isQemuOf(entry, id));
    expect(qemus).toHaveLength(1);
    const [qemu = ""] = qemus;
    const parent = /^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${qemu}/status`, "utf8"))?.[1] ?? "";
    expect(parent).not.toBe(pid);
    return { qemu: Number(qemu), vmm: Number(pid), keeper: Number(parent) };
  };

  it("is told by info, and counts in the ledger", async () => {
    await filled();
    const { stdout } = await engine.berth("info");
    expect(stdout).toContain(`; ${size} waiting, ${size} of each template in use`);
    const { stdout: capacity } = await engine.berth("capacity");
    expect(capacity.match(/^a machine of template \S+ +pool +0 +768MiB/gm)).toHaveLength(size);
  });

  it("gives machines that are each somebody, and fills up again", async () => {
    const look = [
      "hostname",
      "cat /sys/class/net/eth0/address",
      "ip -o addr show eth0 | tr -s ' ' | cut -d ' ' -f 4 | sort | tr '\\n' ' '; echo",
      "cat /proc/sys/kernel/random/boot_id",
      "head -c 16 /dev/urandom | sha256sum",
      "grep $(hostname) /etc/hosts",
      "date +%s",
    ].join("; ");
    for (const name of ["one", "two"]) await run("-d", "--name", name, image, "sleep", "1000");
    const told = [];
    for (const name of ["one", "two"]) {
      await adopted(name);
      const { stdout } = await engine.docker("exec", name, "sh", "-c", look);
      told.push(stdout.trim().split("\n"));
      const { stdout: recorded } = await engine.docker(
        "inspect",
        "-f",
        "{{.Config.Hostname}} {{.NetworkSettings.Networks.bridge.MacAddress}} {{.NetworkSettings.Networks.bridge.IPAddress}}",
        name,
      );
      const [hostname, mac, address] = recorded.trim().split(" ");
      const [first, second, third = ""] = told.at(-1) ?? [];
      expect([first, second]).toEqual([hostname, mac]);
      // One IPv4 address and one of its own MAC, none of the time when it was nobody.
      expect(third.trim().split(" ")).toEqual([
        expect.stringContaining(`${address}/`),
        expect.stringMatching(/^fe80::/),
      ]);
    }
    const [one = [], two = []] = told;
    expect(one).toHaveLength(7);
    for (let i = 0; i < 6; i++) expect(one[i]).not.toBe(two[i]);
    for (const [, , , , , , seconds] of told) expect(Math.abs(Number(seconds) - Date.now() / 1000)).toBeLessThan(30);
    expect(await engine.docker("exec", "one", "ping", "-c1", "-W10", "two")).toMatchObject({ code: 1 });
    const { stdout: peer } = await engine.docker(
      "inspect",
      "-f",
      "{{.NetworkSettings.Networks.bridge.IPAddress}}",
      "two",
    );
    expect(await engine.docker("exec", "one", "ping", "-c1", "-W10", peer.trim())).toMatchObject({ code: 0 });
    await engine.docker("rm", "-f", "one", "two");
    await filled();
    expect(engine.log()).not.toContain("could not be taken over");
  });

  it("gives machines that are like any other: terminal, limits, pause, files, exit code", async () => {
    const script = "tty; echo kept > /kept; trap 'exit 9' TERM; while :; do sleep 0.1; done";
    await run("-dt", "--name", "life", "--pids-limit", "30", "--stop-timeout", "30", image, "sh", "-c", script);
    await adopted("life");
    expect(await engine.docker("exec", "life", "cat", "/sys/fs/cgroup/pids.max")).toMatchObject({ stdout: "30\n" });
    await engine.docker("pause", "life");
    expect((await engine.docker("inspect", "-f", "{{.State.Status}}", "life")).stdout).toBe("paused\n");
    await engine.docker("unpause", "life");
    expect(await engine.docker("diff", "life")).toMatchObject({ stdout: "A /kept\n" });
    await engine.docker("stop", "life");
    expect((await engine.docker("inspect", "-f", "{{.State.ExitCode}}", "life")).stdout).toBe("9\n");
    expect((await engine.docker("logs", "life")).stdout).toMatch(/^\/dev\/pts\/\d+\s*$|^\/dev\/console\s*$/);
    await engine.docker("start", "life");
    expect(await engine.docker("exec", "life", "cat", "/kept")).toMatchObject({ stdout: "kept\n" });
    await engine.docker("rm", "-f", "life");
  });

  it.each(["qemu", "vmm", "keeper"] as const)(
    "ends a machine whose %s is killed, and all that belongs to it",
    async (victim) => {
      await filled();
      await run("-d", "--name", "victim", image, "sleep", "1000");
      const processes = await adopted("victim");
      process.kill(processes[victim], "SIGKILL");
      expect((await engine.docker("wait", "victim")).stdout).toBe("137\n");
      const { stdout } = await engine.docker("inspect", "-f", "{{.State.Error}}", "victim");
      if (victim !== "vmm") expect(stdout).toContain("the virtual machine ended unexpectedly: QEMU with signal 9");
      await engine.docker("rm", "victim");
      await expect
        .poll(() => Object.values(processes).filter((pid) => existsSync(`/proc/${pid}`)), patience)
        .toEqual([]);
    },
  );

  it("loses nothing of what runs, and all that waits, with a killed engine; the next one fills the pool anew", async () => {
    await filled();
    await run("-d", "--name", "stays", image, "sleep", "1000");
    await run("-d", "--name", "ends", image, "sh", "-c", "sleep 1; exit 3");
    const { qemu } = await adopted("stays");
    await filled();
    const [, ...waited] = keepers(engine.dataRoot).toSorted(
      (a, b) => Number(isParentOf(b, qemu)) - Number(isParentOf(a, qemu)),
    );
    await engine.crash();
    await engine.boot();
    expect(waited).toHaveLength(size);
    expect(keepers(engine.dataRoot).filter((pid) => waited.includes(pid))).toEqual([]);
    await filled();
    expect(await engine.docker("exec", "stays", "echo", "here")).toMatchObject({ stdout: "here\n" });
    await expect.poll(async () => (await engine.docker("wait", "ends")).stdout, patience).toBe("3\n");
    await engine.docker("rm", "-f", "stays", "ends");
    await expect.poll(() => keepers(engine.dataRoot), patience).toHaveLength(size);
    // What waits is what a start takes.
    await run("-d", "--name", "taken", image, "sleep", "1000");
    await adopted("taken");
    await engine.docker("rm", "-f", "taken");
    expect(engine.log()).not.toContain("could not be taken over");
  });
});

function isQemuOf(pid: string, id: string): boolean {
  return (
    /^\d+$/.test(pid) && read(`/proc/${pid}/comm`).startsWith("qemu-system") && read(`/proc/${pid}/cgroup`).includes(id)
  );
}

const isParentOf = (pid: string, child: number) => read(`/proc/${child}/status`).includes(`\nPPid:\t${pid}\n`);

/** Of one engine: by the disk that is bound into the jail of each. */
function keepers(dataRoot: string): readonly string[] {
  return readdirSync("/proc").filter(
    (pid) =>
      /^\d+$/.test(pid) &&
      read(`/proc/${pid}/cmdline`).startsWith("/berth/vmm\0keep") &&
      read(`/proc/${pid}/mountinfo`).includes(dataRoot),
  );
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // It has ended.
  }
}

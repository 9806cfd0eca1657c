/**
 * What can be done to a machine that runs, by Berth's command line. The guest is a boot sector with a count in memory and one on its disk:
 * it boots in a second under emulation and tells whether both are those of one moment.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeCounterDisk } from "../integration/qemu/counter-guest.ts";
import { askCounter } from "../support/counter-console.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { until } from "../support/until.ts";

describe("a machine that runs", () => {
  let engine: EngineProcess;
  let dir: string;
  const berth = (...words: readonly string[]) => engine.berth("machine", ...words);
  const ok = (stdout: unknown = expect.any(String)) => ({ code: 0, stderr: "", stdout });
  const refused = (message: string) => ({ code: 1, stderr: expect.stringContaining(message) });

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "berth-live-"));
    makeCounterDisk(dir);
    if (!existsSync("dist/guest/berth-vmm")) execFileSync("sh", ["guest/build.sh"]);
    writeFileSync(join(dir, "failpoints"), "");
    engine = await EngineProcess.start({ environment: { BERTH_FAILPOINTS: `@${join(dir, "failpoints")}` } });
  });
  afterAll(async () => {
    await engine.remove();
    rmSync(dir, { recursive: true });
    await assertNothingLeft(engine);
  });

  async function create(name: string, ...words: readonly string[]): Promise<void> {
    const words_ = ["--disk-file", join(dir, "disk.qcow2"), "--memory", "32MiB", "--cpus", "1", "--start", ...words];
    expect(await berth("create", name, ...words_)).toEqual(ok());
  }

  /** The digits that the guest answers with, one for each order. */
  const ask = (name: string, orders: string) => askCounter(engine.host, name, orders);

  it("goes back to snapshots, with memory in place, with disks alone from the firmware, and on from what was saved", async () => {
    await create("live");
    expect(await ask("live", "+w")).toBe("11");
    expect(await berth("snapshot", "create", "live", "one", "--description", "the first")).toEqual(ok("one\n"));
    expect(await berth("snapshot", "create", "live", "one")).toEqual({ ...refused("already"), stdout: "" });
    expect(await ask("live", "+w")).toBe("22");
    await berth("snapshot", "create", "live", "two");
    expect(await berth("snapshot", "revert", "live", "one")).toEqual(ok(""));
    expect(await ask("live", "?r")).toBe("11");
    await berth("snapshot", "create", "live", "disks", "--disks-only");
    const { stdout } = await berth("snapshot", "ls", "live", "--format", "{{.Name}}|{{.Memory}}|{{.Description}}");
    expect(stdout).toBe("one|yes|the first\n  two|yes|\n  disks *|no|\n");

    expect(await berth("save", "live")).toEqual(ok("live\n"));
    expect((await berth("ls", "--format", "{{.Status}}")).stdout).toContain("off");
    expect(await berth("snapshot", "rm", "live", "one")).toEqual({ ...refused("was saved"), stdout: "" });
    await berth("start", "live");
    expect(await ask("live", "?+")).toBe("12");

    expect(await berth("snapshot", "revert", "live", "two", "--disks-only")).toEqual(ok(""));
    expect(await ask("live", "?r")).toBe("02");
    await berth("stop", "--force", "live");
    expect(await berth("snapshot", "revert", "live", "two")).toEqual(ok(""));
    expect(await ask("live", "?r")).toBe("22");

    expect(await berth("snapshot", "rm", "live", "one", "none")).toEqual({
      ...refused("no snapshot none"),
      stdout: "one\n",
    });
    const { stdout: left } = await berth("snapshot", "ls", "live", "--format", "{{.Name}}");
    expect(left).toBe("two *\ndisks\n");
    const disk = join(engine.dataRoot, "instances", await id("live"), "disks/root.qcow2");
    const info: { readonly snapshots: readonly object[] } = JSON.parse(
      execFileSync("qemu-img", ["info", "-U", "--output=json", disk], { encoding: "utf8" }),
    );
    expect(info.snapshots).toHaveLength(2);
  });

  it("shows its screen, takes keys, and is refused by name where it can't", async () => {
    const file = join(dir, "screen.png");
    expect(await berth("screenshot", "live", file)).toEqual(ok(`${file}\n`));
    expect(readFileSync(file).subarray(1, 4).toString()).toBe("PNG");
    expect(await berth("keys", "live", "--text", "Hi!", "ret", "ctrl-alt-f2")).toEqual(ok(""));
    expect(await berth("keys", "live", "nokey")).toEqual({ ...refused("no key"), stdout: "" });
    await engine.docker("pause", "live");
    expect(await berth("screenshot", "live", file)).toEqual({ ...refused("is paused"), stdout: "" });
    await engine.docker("unpause", "live");
    expect(await berth("save", "--discard", "live")).toMatchObject(refused("was not saved"));
    await berth("stop", "--force", "live");
    expect(await berth("screenshot", "live", file)).toEqual({ ...refused("does not run"), stdout: "" });
    expect(await berth("snapshot", "revert", "live", "nosuch")).toEqual({
      ...refused("no snapshot nosuch"),
      stdout: "",
    });
  });

  it("is backed up and cloned while it runs; clones share a base that stays while one needs it", async () => {
    await berth("stop", "--force", "live");
    await berth("start", "live");
    expect(await ask("live", "+w")).toBe("11");
    const target = join(dir, "backup");
    const backup = await berth("backup", "live", target);
    expect(backup).toMatchObject({ code: 0, stderr: expect.stringContaining("power cut") });
    expect(readdirSync(target).toSorted()).toEqual(["machine.json", "root.qcow2"]);
    expect(countOf(join(target, "root.qcow2"))).toBe(1);
    expect(await berth("backup", "live", target)).toMatchObject(refused("not empty"));

    expect(await berth("clone", "live", "whole")).toEqual(ok("whole\n"));
    expect(await ask("live", "+w")).toBe("22");
    expect(countOf(join(await disks("whole"), "root.qcow2"))).toBe(1);
    const mac = async (name: string) => (await berth("inspect", name, "--format", "{{json .nics}}")).stdout;
    expect(await mac("whole")).not.toBe(await mac("live"));

    expect(await berth("clone", "--linked", "live", "linked")).toMatchObject(refused("runs"));
    await berth("stop", "--force", "live");
    expect(await berth("clone", "--linked", "live", "linked")).toMatchObject(refused("has snapshots"));
    expect(await berth("clone", "--linked", "whole", "linked", "--start")).toEqual(ok("linked\n"));
    expect(await ask("linked", "r++w")).toBe("1122");
    await berth("start", "whole");
    expect(await ask("whole", "r")).toBe("1");
    const bases = join(engine.dataRoot, "machines/bases");
    await berth("rm", "--force", "whole");
    expect(readdirSync(bases)).toHaveLength(1);
    expect(await ask("linked", "r")).toBe("2");
    await berth("rm", "--force", "linked");
    expect(readdirSync(bases)).toEqual([]);
    expect(readdirSync(await disks("live"))).toEqual(["root.qcow2"]);
  });

  it("gets disks, ISOs and sizes while it runs, and keeps what a guest does not let go of", async () => {
    await berth("stop", "--force", "live");
    await berth("start", "live");
    await ask("live", "?");
    const iso = join(dir, "a.iso");
    execFileSync("genisoimage", ["-quiet", "-o", iso, join(dir, "boot.s")]);
    expect(await berth("disk", "attach", "live", "data", "--size", "64MiB")).toEqual(ok(""));
    expect(await berth("disk", "attach", "live", "data", "--size", "1GiB")).toMatchObject(refused("already"));
    expect(await berth("disk", "attach", "live", "scsi", "--size", "1GiB")).toMatchObject(refused("can't be called"));
    expect(await berth("disk", "attach", "live", "more")).toMatchObject(refused("--size or of --file"));
    expect(await berth("iso", "eject", "live")).toMatchObject(refused("no drive"));
    expect(await berth("iso", "insert", "live", join(dir, "disk.raw"))).toMatchObject(refused("no ISO 9660"));
    expect(await berth("iso", "insert", "live", iso)).toEqual(ok(""));
    expect(await berth("resize", "live", "--disk", "data=128MiB", "--memory", "64MiB")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^disk data: now .*\nmemory: at the next start/),
    });
    expect(await berth("resize", "live", "--disk", "data=64MiB")).toMatchObject(refused("not made smaller"));
    expect(await berth("boot", "live", "cd0", "none")).toMatchObject(refused("no device none"));
    // A boot sector knows nothing of hot-plugging.
    expect(await berth("disk", "detach", "live", "data")).toMatchObject(refused("has not let go"));
    expect(await berth("save", "live")).toMatchObject(refused("restart it first"));
    expect(await berth("snapshot", "revert", "live", "two")).toMatchObject(
      refused("the disk data (virtio) came later"),
    );

    await berth("stop", "--force", "live");
    await berth("start", "live");
    expect(await ask("live", "r")).toBe("2");
    expect(await berth("iso", "eject", "live")).toEqual(ok(""));
    await berth("stop", "--force", "live");
    expect(await berth("disk", "detach", "live", "data")).toEqual(ok(""));
    expect(readdirSync(await disks("live")).toSorted()).toEqual(["data.qcow2", "root.qcow2"]);
    expect(await berth("disk", "attach", "live", "data", "--bus", "sata")).toEqual(ok(""));
    expect((await berth("inspect", "live", "--format", "{{json .hardware.disks}}")).stdout).toContain("134217728");
    expect(await berth("disk", "detach", "--delete", "live", "data")).toEqual(ok(""));
    expect(readdirSync(await disks("live"))).toEqual(["root.qcow2"]);
  });

  it.each<[string, string, string, readonly string[]]>([
    ["a snapshot", "qemu-system-", "qemu.command#1", ["snapshot", "create", "cut", "one"]],
    ["a snapshot", "/berth/vmm", "qemu.command#1", ["snapshot", "create", "cut", "one"]],
    ["being saved", "qemu-system-", "qemu.command#4", ["save", "cut"]],
    ["being saved", "/berth/vmm", "qemu.command#4", ["save", "cut"]],
    ["a backup", "qemu-system-", "qemu.command#2", ["backup", "cut", "@backup"]],
    ["a backup", "/berth/vmm", "qemu.command#2", ["backup", "cut", "@backup"]],
  ])("keeps nothing of %s that the end of %s cut short", async (_what, program, point, verb) => {
    const target = join(dir, "cut-backup");
    await create("cut");
    await ask("cut", "+w");
    const reached = arm(`${point}=delay:1500`);
    const words = verb.map((word) => (word === "@backup" ? target : word));
    const cut = berth(...words);
    await until(async () => reached(), `the effect ${point}`, 20);
    process.kill(pidOf(await id("cut"), program), "SIGKILL");
    const begun = Date.now();
    expect(await cut).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/QEMU (has gone|can't be reached|could not finish)/),
    });
    expect(Date.now() - begun).toBeLessThan(15_000);
    arm("");
    const isOff = async () => (await berth("inspect", "cut", "--format", "{{.status}}")).stdout === "exited\n";
    await until(isOff, "the machine's end", 20);
    expect((await berth("snapshot", "ls", "cut", "--format", "{{.Name}}")).stdout).toBe("");
    expect(existsSync(target)).toBe(false);
    expect(readdirSync(await disks("cut"))).toEqual(["root.qcow2"]);
    expect(await berth("start", "cut")).toEqual(ok(expect.any(String)));
    expect(await ask("cut", "r")).toBe("1");
    const disk = join(await disks("cut"), "root.qcow2");
    expect(execFileSync("qemu-img", ["snapshot", "-U", "-l", disk], { encoding: "utf8" })).toBe("");
    await berth("rm", "--force", "cut");
  });

  /** Arms these failpoints in the engine; says whether one was come to. */
  function arm(spec: string): () => boolean {
    const trace = join(dir, `trace-${Date.now()}`);
    writeFileSync(join(dir, "failpoints"), `${spec};trace=${trace}`);
    process.kill(engine.pid, "SIGUSR2");
    const [name = "", nth = "1"] = spec.split("=", 1)[0]?.split("#") ?? [];
    return () => existsSync(trace) && readFileSync(trace, "utf8").split(`\n${name} `).length > Number(nth);
  }

  /** Of the machine's process that has this in its program's name. */
  function pidOf(machine: string, program: string): number {
    const found = readdirSync("/proc").filter((name) => {
      if (!/^\d+$/.test(name)) return false;
      try {
        const [first = ""] = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
        return first.includes(program) && readFileSync(`/proc/${name}/cgroup`, "utf8").includes(machine);
      } catch {
        return false; // It ended meanwhile.
      }
    });
    if (found.length !== 1) throw new Error(`${found.length} processes ${program} of ${machine}`);
    return Number(found[0]);
  }

  const disks = async (name: string) => join(engine.dataRoot, "instances", await id(name), "disks");

  /** Of the disk's second sector. */
  function countOf(file: string): number {
    const raw = join(dir, "raw");
    execFileSync("qemu-img", ["convert", "-U", "-O", "raw", file, raw]);
    return readFileSync(raw)[512] ?? -1;
  }

  const id = async (name: string) => (await berth("inspect", name, "--format", "{{.id}}")).stdout.trim();
});

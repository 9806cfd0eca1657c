/**
 * A machine with Debian, from the distribution's mirror to its end: built once, booted once, under emulation. `BERTH_TEST_DEBIAN_DISK` names a disk
 * that `berth machine image build debian:bookworm` made before, to save that time.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { until } from "../support/until.ts";

const ready = process.env["BERTH_TEST_DEBIAN_DISK"] ?? "";
const minutes = 60_000;

describe("a machine with Debian", () => {
  let engine: EngineProcess;
  let dir: string;
  const machine = (...words: readonly string[]) => engine.berth("machine", ...words);
  const inside = (name: string, script: string) => machine("exec", name, "sh", "-c", script);
  const bootId = async (name: string) => (await inside(name, "cat /proc/sys/kernel/random/boot_id")).stdout;
  const ok = (stdout: unknown = expect.any(String)) => ({ code: 0, stderr: "", stdout });

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "berth-debian-"));
    if (!existsSync("dist/guest/osinit")) execFileSync("sh", ["guest/build.sh"]);
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(dir, "key")]);
    engine = await EngineProcess.start({ commandTimeoutMs: 15 * minutes });
  });
  afterAll(async () => {
    await engine.remove();
    rmSync(dir, { recursive: true });
    await assertNothingLeft(engine);
  });

  it("has a disk that is made of the distribution, and kept as KubeVirt keeps one", {
    timeout: 16 * minutes,
  }, async () => {
    if (ready !== "") await machine("image", "build", "--disk", ready, "-t", "machine/debian:bookworm");
    const card = ["--user", "ada", "--ssh-key", join(dir, "key.pub"), "--cpus", "2", "--memory", "768MiB"];
    // Where there is no such image, this builds it.
    expect(await machine("create", "web1", "--image", "debian:bookworm", "--disk", "6GiB", ...card)).toEqual(ok());
    const images = await engine.berth("images", "--format", "{{.Repository}}:{{.Tag}}");
    expect(images.stdout).toBe("machine/debian:bookworm\n");
    await engine.berth("create", "--name", "files", "machine/debian:bookworm", "none");
    await engine.berth("export", "-o", join(dir, "files.tar"), "files");
    await engine.berth("rm", "files");
    const listed = execFileSync("tar", ["-tvf", join(dir, "files.tar"), "--numeric-owner"], { encoding: "utf8" });
    expect(listed).toMatch(/^-r--r----- 107\/107 .* disk\/disk\.qcow2$/m);
  });

  it("boots with systemd, takes its user and key, and fills its disk", { timeout: 12 * minutes }, async () => {
    expect(await machine("start", "web1")).toEqual(ok());
    await until(async () => (await inside("web1", "true")).code === 0, "the guest agent answers", 400);
    await until(
      async () => /done|error/.test((await inside("web1", "cloud-init status")).stdout),
      "cloud-init ends",
      300,
    );
    expect(await inside("web1", "cloud-init status; systemctl --failed --no-legend; hostname")).toEqual(
      ok("status: done\nweb1\n"),
    );
    const key = readFileSync(join(dir, "key.pub"), "utf8").split(" ").slice(0, 2).join(" ");
    expect((await inside("web1", "cat ~ada/.ssh/authorized_keys; sudo -u ada sudo -n id -u")).stdout).toMatch(
      new RegExp(`^${key.replaceAll("+", "\\+")}.*\n0\n$`),
    );
    const size = await inside("web1", "df --output=size -BG / | tail -1");
    expect(size.stdout.trim()).toBe("6G");
    // The serial console has a login, and the address is the one that the network assigns.
    expect((await machine("logs", "web1")).stdout).toContain("web1 login:");
    const { stdout: address } = await machine("ip", "-q", "web1");
    const options = [
      "-o",
      "StrictHostKeyChecking=no",
      "-o",
      `UserKnownHostsFile=${join(dir, "hosts")}`,
      "-o",
      "BatchMode=yes",
    ];
    const words = ["-i", join(dir, "key"), ...options, "-o", "ConnectTimeout=60", `ada@${address.trim()}`, "id -un"];
    expect(execFileSync("ssh", words, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })).toBe("ada\n");
  });

  it("goes on when the engine is killed, and is reached again", { timeout: 5 * minutes }, async () => {
    const before = await bootId("web1");
    await engine.crash();
    await engine.boot();
    expect(before).not.toBe("");
    expect(await bootId("web1")).toBe(before);
    expect((await machine("ls", "--format", "{{.Name}} {{.Status}}")).stdout).toMatch(/^web1 up /);
  });

  it("goes back to a snapshot with its memory", { timeout: 8 * minutes }, async () => {
    const before = await bootId("web1");
    expect(await inside("web1", "echo memory > /run/kept; echo disk > /root/kept; sync")).toEqual(ok(""));
    expect(await machine("snapshot", "create", "web1", "good")).toEqual(ok("good\n"));
    expect(await inside("web1", "rm /run/kept; echo bad > /root/kept; touch /root/new; sync")).toEqual(ok(""));
    expect(await machine("snapshot", "revert", "web1", "good")).toEqual(ok(""));
    await until(async () => (await inside("web1", "true")).code === 0, "the guest agent answers", 120);
    expect(await inside("web1", "cat /run/kept /root/kept; ls /root/new 2>/dev/null")).toMatchObject({
      stdout: "memory\ndisk\n",
    });
    expect(await bootId("web1")).toBe(before);
  });

  it("gets a disk and a card while it runs, and the card an address", { timeout: 8 * minutes }, async () => {
    expect(await machine("disk", "attach", "web1", "data", "--size", "64MiB")).toMatchObject({ code: 0 });
    const disk = "grep -lx 131072 /sys/block/*/size";
    await until(async () => (await inside("web1", disk)).stdout.includes("/sys/block/"), "the guest sees the disk", 60);
    await engine.docker("network", "create", "--subnet", "10.199.46.0/24", "extra");
    expect(await machine("nic", "attach", "web1", "extra")).toEqual(ok("net1\n"));
    const addresses = async () => (await inside("web1", "ip -4 -brief address")).stdout;
    await until(async () => (await addresses()).includes(" 10.199.46."), "the card has its address", 120);
    expect(await machine("nic", "detach", "web1", "net1")).toMatchObject({ code: 0 });
    expect(await machine("disk", "detach", "web1", "data", "--delete")).toMatchObject({ code: 0 });
  });

  it("is switched off by its power button", { timeout: 5 * minutes }, async () => {
    expect(await machine("stop", "--or-fail", "-t", "200", "web1")).toEqual(ok("web1\n"));
    expect((await machine("ls", "--format", "{{.Status}}")).stdout).toMatch(/^off/);
  });

  it("is cloned; the clone goes out as an OVA that others read, and comes back as a machine", {
    timeout: 15 * minutes,
  }, async () => {
    expect(await machine("clone", "web1", "twin")).toEqual(ok("twin\n"));
    expect(await machine("rm", "web1")).toEqual(ok("web1\n"));
    const ova = join(dir, "twin.ova");
    expect(await machine("export", "twin", ova)).toEqual(ok(`${ova}\n`));
    expect(await machine("rm", "twin")).toEqual(ok("twin\n"));
    const files = execFileSync("tar", ["-tf", ova], { encoding: "utf8" }).trim().split("\n");
    // DSP0243: the description comes first.
    expect(files[0]).toMatch(/\.ovf$/);
    execFileSync("tar", ["-xf", ova, "-C", dir]);
    execFileSync("xmllint", ["--noout", join(dir, files[0] ?? "")]);
    const disk = files.find((name) => name.endsWith(".vmdk")) ?? "";
    const info: { readonly format: string; readonly "virtual-size": number } = JSON.parse(
      execFileSync("qemu-img", ["info", "--output=json", join(dir, disk)], { encoding: "utf8" }),
    );
    expect(info).toMatchObject({ format: "vmdk", "virtual-size": 6 * 1024 ** 3 });

    expect(await machine("import", ova, "--name", "back", "--quiet", "--start")).toMatchObject({ code: 0, stderr: "" });
    await until(async () => (await inside("back", "true")).code === 0, "the guest agent answers", 600);
    expect(await inside("back", "cat /root/kept; id -un ada")).toEqual(ok("disk\nada\n"));
    expect(await machine("rm", "-f", "back")).toEqual(ok("back\n"));
  });
});

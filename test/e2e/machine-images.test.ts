/** Disk images of machines that are made of other images and of disk files, and what can't be made. Under emulation. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { guestKernelPackage } from "../support/guest-kernel.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { startRegistry } from "../support/registry.ts";
import { until } from "../support/until.ts";

const image = "berth-os:1";
const script = `trap 'echo stopping; exit 0' TERM
echo "UP as $(id -u) in $(pwd) with $A at $(ip -4 addr show eth0 | awk '/inet/{print $2}')"
echo "root has $(df -m / | awk 'END{print $2}') MiB"
while :; do sleep 0.2; done`;

describe("disk images of machines", () => {
  let engine: EngineProcess;
  let dir: string;
  const machine = (...words: readonly string[]) => engine.berth("machine", ...words);
  const build = (...words: readonly string[]) => machine("image", "build", ...words);
  const ok = (stdout: unknown = expect.any(String)) => ({ code: 0, stderr: "", stdout });
  const refused = (message: string) => expect.objectContaining({ code: 1, stderr: expect.stringContaining(message) });

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "berth-os-"));
    if (!existsSync("dist/guest/osinit")) execFileSync("sh", ["guest/build.sh"]);
    engine = await EngineProcess.start({ environment: { BERTH_GUEST_KERNEL: guestKernelPackage() } });
    const config = { Env: ["PATH=/bin", "A=b c"], WorkingDir: "/tmp", User: "1000" };
    writeFileSync(join(dir, "image.tar"), await busyboxArchive({ tags: [image], cmd: ["sh", "-c", script], config }));
    await engine.docker("load", "-i", join(dir, "image.tar"));
  });
  afterAll(async () => {
    await engine.remove();
    rmSync(dir, { recursive: true });
    await assertNothingLeft(engine);
  });

  const logs = async (name: string) => (await machine("logs", name)).stdout;
  const id = async (tag: string) => (await engine.docker("image", "inspect", "-f", "{{.Id}}", tag)).stdout.trim();

  it("run an image without a kernel or an init, by a BIOS, with network, the whole disk and the power button", async () => {
    expect(await build(image, "--size", "256MiB", "--quiet")).toEqual(ok(`${await id(`machine/${image}`)}\n`));
    const hardware = ["--memory", "128MiB", "--cpus", "1", "--disk", "512MiB"];
    expect(await machine("create", "bios", "--image", image, ...hardware, "--start")).toEqual(ok());
    await until(async () => (await logs("bios")).includes("root has"), "its command runs", 200);
    const { stdout: address } = await machine("ip", "-q", "bios");
    expect(await logs("bios")).toContain(`UP as 1000 in /tmp with b c at ${address.trim()}/`);
    const [, size] = /root has (\d+) MiB/.exec(await logs("bios")) ?? [];
    expect(Number(size)).toBeGreaterThan(380);
    expect(await machine("stop", "--or-fail", "-t", "100", "bios")).toEqual(ok("bios\n"));
    expect(await logs("bios")).toMatch(/stopping\s+berth: the command ended with exit code 0/);
    await machine("rm", "bios");
  });

  it.runIf(existsSync("/usr/share/OVMF/OVMF_CODE_4M.fd"))("start by UEFI as well", async () => {
    const hardware = ["--firmware", "uefi", "--memory", "384MiB", "--cpus", "1", "--disk", "256MiB"];
    expect(await machine("create", "uefi", "--image", image, ...hardware, "--start")).toEqual(ok());
    await until(async () => (await logs("uefi")).includes("UP as 1000"), "its command runs", 250);
    await machine("rm", "-f", "uefi");
  });

  it("are whole file systems, in a partition table that its tools find no fault with", async () => {
    await engine.docker("create", "--name", "files", `machine/${image}`, "none");
    await engine.docker("cp", "files:/disk/disk.qcow2", join(dir, "disk.qcow2"));
    await engine.docker("rm", "files");
    execFileSync("qemu-img", ["convert", "-O", "raw", join(dir, "disk.qcow2"), join(dir, "disk.raw")]);
    const root = `${join(dir, "disk.raw")}?offset=${66 * 1024 * 1024}`;
    execFileSync("e2fsck", ["-fn", root], { stdio: "pipe" });
    expect(execFileSync("debugfs", ["-R", "cat /etc/fstab", root], { encoding: "utf8", stdio: "pipe" })).toMatch(
      /^UUID=\S+ \/ ext4 /,
    );
    const esp = execFileSync("mdir", ["-b", "-/", "-i", `${join(dir, "disk.raw")}@@${2 * 1024 * 1024}`, "::"]);
    expect(esp.toString()).toContain("::/EFI/BOOT/BOOTX64.EFI");
  });

  it("are made of disk files, unless those reach for other files", async () => {
    const vmdk = join(dir, "Small Disk.vmdk");
    execFileSync("qemu-img", ["create", "-q", "-f", "vmdk", vmdk, "8M"]);
    expect(await build("--disk", vmdk, "--size", "16MiB")).toEqual(ok());
    const labels = await engine.docker("image", "inspect", "-f", "{{json .Config.Labels}}", "machine/small-disk");
    expect(JSON.parse(labels.stdout)).toEqual({
      "io.berth.machine.source": "Small Disk.vmdk",
      "io.berth.machine.disk-size": String(16 * 1024 * 1024),
    });
    const overlay = join(dir, "overlay.qcow2");
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", "-u", overlay, "8M"]);
    expect(await build("--disk", overlay)).toEqual(refused("partly in another file"));
    expect(await id("machine/overlay")).toBe("");
  });

  it("are pushed, and pulled where a machine is made of one that is elsewhere", async () => {
    await using registry = await startRegistry();
    const disk = join(dir, "remote.raw");
    writeFileSync(disk, Buffer.alloc(1024 * 1024, 7));
    const name = `${registry.host}/disks/remote:1`;
    expect(await build("--disk", disk, "-t", name)).toMatchObject({ code: 0 });
    expect(await engine.docker("push", name)).toMatchObject({ code: 0 });
    expect(await engine.docker("rmi", name)).toMatchObject({ code: 0 });
    const words = ["--memory", "32MiB", "--disk", "1MiB"];
    expect(await machine("create", "remote", "--image", name, ...words)).toMatchObject({ code: 0 });
    expect(await machine("create", "none", "--image", `${registry.host}/nosuch:1`, ...words)).toMatchObject({
      code: 1,
    });
    expect((await machine("ls", "--format", "{{.Name}}")).stdout).toBe("remote\n");
    await machine("rm", "remote");
    await engine.docker("rmi", name);
  });

  it("are refused by name where they can't be made", async () => {
    expect(await build("nosuch:1")).toEqual(refused("no distribution that Berth can install"));
    expect(await build(`machine/${image}`)).toEqual(refused("is a machine's disk already"));
    expect(await build(image, "-t", "machine/tiny", "--size", "100MiB")).toEqual(refused("too small"));
    writeFileSync(join(dir, "Dockerfile"), `FROM ${image}\nCMD []\nENTRYPOINT []\n`);
    expect(await build("-f", join(dir, "Dockerfile"), "-t", "machine/nothing", dir)).toEqual(
      refused("no init (/sbin/init) and no command"),
    );
    expect(
      (await engine.docker("images", "--format", "{{.Repository}}")).stdout.split("\n").filter(Boolean).sort(),
    ).toEqual(["berth-os", `machine/${image.split(":")[0]}`, "machine/small-disk"]);
  });
});

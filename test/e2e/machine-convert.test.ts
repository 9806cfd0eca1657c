/** From a container to a machine and back, by Berth's command line. Under emulation. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { guestKernelPackage } from "../support/guest-kernel.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { until } from "../support/until.ts";

const script = `trap 'exit 0' TERM
echo "UP as $(id -u) in $(pwd) with $A, and $(cat /marker)"
while :; do sleep 0.2; done`;

describe("conversions", () => {
  let engine: EngineProcess;
  let dir: string;
  const convert = (...words: readonly string[]) => engine.berth("convert", ...words);
  const ok = (stdout: unknown = expect.any(String)) => ({ code: 0, stderr: "", stdout });
  const refused = (message: string) => expect.objectContaining({ code: 1, stderr: expect.stringContaining(message) });
  const images = async () =>
    (await engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}")).stdout.split("\n").filter(Boolean).sort();

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "berth-convert-"));
    if (!existsSync("dist/guest/osinit")) execFileSync("sh", ["guest/build.sh"]);
    engine = await EngineProcess.start({ environment: { BERTH_GUEST_KERNEL: guestKernelPackage() } });
    const config = { Env: ["PATH=/bin", "A=b $c"], WorkingDir: "/tmp", User: "1000" };
    const archive = await busyboxArchive({ tags: ["plain:1"], cmd: ["sh", "-c", script], config });
    writeFileSync(join(dir, "image.tar"), archive);
    await engine.docker("load", "-i", join(dir, "image.tar"));
  });
  afterAll(async () => {
    await engine.remove();
    rmSync(dir, { recursive: true });
    await assertNothingLeft(engine);
  });

  it("make a machine of a container, with its files as they are, and leave nothing but what was asked for", async () => {
    await engine.docker("run", "-d", "--name", "web", "-v", "/data", "plain:1");
    await engine.docker("exec", "-u", "0", "web", "sh", "-c", "echo from the container >/marker");
    const hardware = ["--memory", "128MiB", "--cpus", "1", "--disk", "512MiB"];
    const made = await convert("web", "--to", "machine", "vm", ...hardware, "--keep-image", "kept:1", "--start");
    expect(made).toEqual(ok(expect.stringMatching(/Volumes and binds are not in it: \/data[^]*\nvm\n$/)));
    const logs = async () => (await engine.berth("machine", "logs", "vm")).stdout;
    await until(
      async () => (await logs()).includes("UP as 1000 in /tmp with b $c, and from the container"),
      "it runs",
      200,
    );
    expect(await images()).toEqual(["kept:1", "plain:1"]);
    expect(await convert("vm", "--to", "machine", "again")).toEqual(refused("is a machine already"));
    expect(await convert("nosuch", "--to", "machine")).toEqual(refused("no container and no image nosuch"));
    expect(await convert("kept:1", "--to", "machine")).toEqual(refused("is a machine's disk already"));
  });

  it("make an image of a machine that runs, which runs as a container and as a VM", async () => {
    expect(await convert("vm", "--to", "image", "back:1", "-q")).toEqual(
      ok(expect.stringMatching(/^sha256:\w{64}\n$/)),
    );
    const show = ["-u", "0", "back:1", "sh", "-c", "cat /marker /etc/fstab; ls -A /boot /lib /run; pwd"];
    const expected = {
      stdout: "from the container\n/boot:\n\n/run:\n/tmp\n",
      stderr: expect.stringContaining("No such file"),
    };
    const asContainer = await engine.docker("run", "--rm", ...show);
    expect(asContainer.stdout.replace(/\/lib:\n\n?/, "")).toEqual(expected.stdout);
    expect((await engine.docker("run", "--rm", "--runtime", "vm", "-u", "0", "back:1", "cat", "/marker")).stdout).toBe(
      "from the container\n",
    );
    const config = await engine.docker(
      "image",
      "inspect",
      "-f",
      "{{.Config.User}} {{.Config.Env}} {{json .Config.Labels}}",
      "back:1",
    );
    expect(config.stdout).toBe('1000 [PATH=/bin A=b $c] {"io.berth.converted-from":"vm"}\n');
  });

  it("read a disk's file, with or without partitions, and say what is on one that has no root to read", async () => {
    const tree = join(dir, "tree");
    mkdirSync(join(tree, "etc"), { recursive: true });
    writeFileSync(join(tree, "etc/os-release"), "ID=test\n");
    const raw = join(dir, "whole.raw");
    execFileSync("mkfs.ext4", ["-q", "-d", tree, raw, "16M"], { stdio: "pipe" });
    execFileSync("qemu-img", ["convert", "-O", "vmdk", raw, join(dir, "whole.vmdk")]);
    expect(await convert(join(dir, "whole.vmdk"), "--to", "image", "whole:1", "-c", 'CMD ["none"]')).toEqual(ok());
    expect((await engine.docker("image", "inspect", "-f", "{{.Config.Cmd}}", "whole:1")).stdout).toBe("[none]\n");

    const parts = join(dir, "parts.raw");
    writeFileSync(parts, partitioned());
    truncateSync(parts, 8 * 1024 * 1024);
    expect(await convert(parts, "--to", "image", "none:1")).toEqual(
      refused("vda1 (NTFS), vda2 (LUKS: encrypted), vda3 (not known)"),
    );
    expect(await convert("nosuch", "--to", "image", "none:1")).toEqual(refused("No such machine: nosuch"));
    expect(await convert("vm", "--to", "image", "none:1", "--source-disk", "data")).toEqual(
      refused("has no disk data"),
    );
    expect(await images()).toEqual(["back:1", "kept:1", "plain:1", "whole:1"]);
    expect(readdirSync(join(engine.dataRoot, "machines/conversions"))).toEqual([]);
    expect(readdirSync(join(engine.dataRoot, "machines/imports"))).toEqual([]);
  });
});

/** An MBR of three partitions of 1 MiB, of which two begin as what can't be read does. */
function partitioned(): Buffer {
  const MiB = 1024 * 1024;
  const disk = Buffer.alloc(4 * MiB);
  for (const nth of [0, 1, 2]) {
    const entry = 446 + nth * 16;
    disk.writeUInt8(0x83, entry + 4);
    disk.writeUInt32LE(((nth + 1) * MiB) / 512, entry + 8);
    disk.writeUInt32LE(MiB / 512, entry + 12);
  }
  disk.writeUInt16LE(0xaa55, 510);
  disk.write("NTFS    ", MiB + 3, "latin1");
  disk.write("LUKS\xba\xbe", 2 * MiB, "latin1");
  return disk;
}

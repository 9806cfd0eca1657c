/**
 * An installer's ISO made on the spot: isolinux, a kernel, and an initial root that partitions the machine's disk, formats it, copies kernel
 * and initial root from the CD, installs extlinux, and powers off. The same initial root is what the installed disk boots.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CpioEntry, S_IFDIR, S_IFREG, writeCpio } from "../../src/guest/cpio.ts";
import { collectModules } from "../../src/guest/kernel-modules.ts";

/** What the installed system prints once it is up. */
export const installedLine = "INSTALLED AND UP FROM";

const modules = ["virtio_pci", "virtio_blk", "virtio_scsi", "sr_mod", "isofs"];
const programs = ["/usr/sbin/mke2fs", "/usr/bin/extlinux"];

const init = String.raw`#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /cd /target /tmp /etc
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/usr/sbin
fail() { echo "INSTALLER FAILED: $1"; poweroff -f; }
while read -r module; do insmod /modules/$module; done < /modules/order
tries=0
until [ -e /dev/vda ] || [ $tries = 100 ]; do sleep 0.1; tries=$((tries + 1)); done
if grep -q installed /proc/cmdline; then
  mount -t ext4 /dev/vda1 /target || fail "the disk can't be mounted"
  echo "${installedLine} $(cat /target/made-by)"
  while :; do sleep 1; done
fi
until [ -e /dev/sr0 ] || [ $tries = 200 ]; do sleep 0.1; tries=$((tries + 1)); done
mount -t iso9660 -o ro /dev/sr0 /cd || fail "there is no CD"
printf 'o\nn\np\n1\n2048\n\na\n1\nw\n' | fdisk /dev/vda > /tmp/fdisk.log 2>&1 || fail "partitions"
until [ -e /dev/vda1 ] || [ $tries = 300 ]; do sleep 0.1; tries=$((tries + 1)); done
/usr/sbin/mke2fs -q -F -t ext4 -b 4096 -O ^64bit,^metadata_csum,^metadata_csum_seed,^orphan_file /dev/vda1 || fail "mke2fs"
mount -t ext4 /dev/vda1 /target || fail "mount"
mkdir /target/boot
cp /cd/linux /cd/initrd /cd/ldlinux.c32 /target/boot/ || fail "copy"
echo "serial 0
default linux
prompt 0
label linux
  kernel /boot/linux
  initrd /boot/initrd
  append console=ttyS0 quiet installed" > /target/boot/extlinux.conf
ln -s /proc/mounts /etc/mtab
/usr/bin/extlinux --install /target/boot || fail "extlinux"
dd if=/cd/mbr.bin of=/dev/vda bs=440 count=1 conv=notrunc 2> /dev/null || fail "boot code"
echo "the unattended installer" > /target/made-by
umount /target && sync
echo "INSTALLED"
poweroff -f
`;

/** Makes `directory`/installer.iso of the kernel's package, as set-up downloads it. */
export async function makeInstallerIso(directory: string, kernelPackage: string): Promise<string> {
  const unpacked = join(directory, "kernel");
  const cd = join(directory, "cd");
  mkdirSync(join(cd, "isolinux"), { recursive: true });
  execFileSync("dpkg-deb", ["-x", kernelPackage, unpacked]);
  const lib = existsSync(join(unpacked, "lib/modules")) ? "lib/modules" : "usr/lib/modules";
  const version = readdirSync(join(unpacked, lib))[0] ?? "";
  const found = await collectModules(join(unpacked, lib, version), modules);

  writeFileSync(
    join(cd, "initrd"),
    writeCpio(
      withDirectories([
        file("init", Buffer.from(init)),
        file("bin/busybox", readFileSync("/bin/busybox")),
        file("modules/order", Buffer.from(found.map(({ name }) => `${name}.ko\n`).join(""))),
        ...found.map(({ name, data }) => file(`modules/${name}.ko`, data)),
        ...[...new Set(programs.flatMap(withLibraries))].map((path) => file(path.slice(1), readFileSync(path))),
      ]),
    ),
  );
  copyFileSync(join(unpacked, "boot", `vmlinuz-${version}`), join(cd, "linux"));
  for (const target of ["ldlinux.c32", "isolinux/ldlinux.c32"]) {
    copyFileSync("/usr/lib/syslinux/modules/bios/ldlinux.c32", join(cd, target));
  }
  copyFileSync("/usr/lib/syslinux/mbr/mbr.bin", join(cd, "mbr.bin"));
  copyFileSync("/usr/lib/ISOLINUX/isolinux.bin", join(cd, "isolinux/isolinux.bin"));
  writeFileSync(
    join(cd, "isolinux/isolinux.cfg"),
    "serial 0\ndefault install\nprompt 0\nlabel install\n  kernel /linux\n  initrd /initrd\n  append console=ttyS0 quiet\n",
  );
  const iso = join(directory, "installer.iso");
  const boot = ["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4"];
  const words = ["-as", "mkisofs", "-quiet", "-o", iso, "-V", "INSTALLER", "-J", "-r", ...boot, "-boot-info-table", cd];
  execFileSync("xorriso", words, { stdio: ["ignore", "ignore", "pipe"] });
  return iso;
}

function file(name: string, data: Uint8Array): CpioEntry {
  return { name, mode: S_IFREG | 0o755, data };
}

function withDirectories(files: readonly CpioEntry[]): readonly CpioEntry[] {
  const names = new Set<string>();
  for (const { name } of files) {
    const parts = name.split("/").slice(0, -1);
    for (let n = 1; n <= parts.length; n++) names.add(parts.slice(0, n).join("/"));
  }
  const directories = [...names].map((name): CpioEntry => ({ name, mode: S_IFDIR | 0o755, data: new Uint8Array() }));
  return [...directories, ...files];
}

function withLibraries(program: string): readonly string[] {
  return [program, ...(execFileSync("ldd", [program], { encoding: "utf8" }).match(/\/\S+/g) ?? [])];
}

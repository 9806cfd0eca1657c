import { sizeText } from "../base/byte-size.ts";
import { defineErrors } from "../base/errors.ts";

/** What can go wrong when a bootable disk is made of files. */
export const osImageErrors = defineErrors({
  OS_TOOL_MISSING: {
    status: 503,
    message: (p: { program: string }) => `${p.program} is not installed, which disk images of machines are made with`,
    hint: (p) => `run 'npm run setup', or install it: apt-get install ${packageOf[p.program] ?? p.program}`,
  },
  OS_LOADER_MISSING: {
    status: 503,
    message: (p: { directory: string }) => `the boot loader's files are not installed: there is no ${p.directory}`,
    hint: () => "run 'npm run setup', or: apt-get install grub-common grub-pc-bin grub-efi-amd64-bin",
  },
  OS_ARCHITECTURE_UNSUPPORTED: {
    status: 400,
    message: (p: { name: string; architecture: string }) =>
      `no machine image can be made of ${p.name}: Berth has no boot loader for ${p.architecture}, only for amd64`,
  },
  OS_TOOL_FAILED: {
    status: 500,
    message: (p: { step: string; reason: string }) => `the disk image can't be made: ${p.step}: ${p.reason}`,
  },
  OS_DISK_TOO_SMALL: {
    status: 400,
    message: (p: { wanted: number; needed: number }) =>
      `a disk of ${sizeText(p.wanted)} is too small for these files, which need ${sizeText(p.needed)}`,
    hint: () => "give a larger --size, or none: a machine's disk can be larger than its image's",
  },
  OS_SOURCE_UNKNOWN: {
    status: 404,
    message: (p: { source: string }) =>
      `there is no image ${p.source} here, and it is no distribution that Berth can install`,
    hint: () => "pull or build the image first, or name a release such as debian:bookworm",
  },
  OS_SOURCE_IS_A_DISK: {
    status: 400,
    message: (p: { source: string }) => `${p.source} is a machine's disk already`,
    hint: (p) => `create a machine of it: berth machine create --image ${p.source} NAME`,
  },
  OS_NOTHING_TO_RUN: {
    status: 400,
    message: (p: { source: string }) =>
      `no machine image can be made of ${p.source}: it has no init (/sbin/init) and no command that could be run instead`,
    hint: () => "install an init in the image (systemd-sysv), or give the image a CMD",
  },
  OS_TREE_REFUSED: {
    status: 400,
    message: (p: { source: string; path: string; reason: string }) =>
      `no machine image can be made of ${p.source}: ${p.path} ${p.reason}`,
  },
});

const packageOf: Readonly<Record<string, string>> = {
  "grub-mkimage": "grub-common",
  mformat: "mtools",
  mmd: "mtools",
  mcopy: "mtools",
  "mkfs.ext4": "e2fsprogs",
  "qemu-img": "qemu-utils",
  debugfs: "e2fsprogs",
  du: "coreutils",
  depmod: "kmod",
  "dpkg-deb": "dpkg",
};

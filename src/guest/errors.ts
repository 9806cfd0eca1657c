import { defineErrors } from "../base/errors.ts";

/** What can go wrong with what a virtual machine is booted from. */
export const guestErrors = defineErrors({
  KERNEL_UNUSABLE: {
    status: 500,
    message: (p: { reason: string }) => `the guest kernel can't be used: ${p.reason}`,
    hint: () => "remove the guest directory of the data root, and let it be fetched anew",
  },
  GUEST_FETCH_FAILED: {
    status: 503,
    message: (p: { package: string; reason: string }) =>
      `the package ${p.package} with the guest's kernel can't be fetched: ${p.reason}`,
    hint: () =>
      "check the network and apt's sources (apt-get update), or point guest-kernel at a .deb of a Debian cloud kernel on this machine",
  },
  GUEST_TOOL_MISSING: {
    status: 503,
    message: (p: { program: string }) => `${p.program} is not installed, which virtual machines need`,
    hint: (p) => `run 'npm run setup', or install it: apt-get install ${packageOf[p.program] ?? p.program}`,
  },
  GUEST_BINARY_MISSING: {
    status: 503,
    message: (p: { path: string }) => `the guest's agent has not been built: there is no ${p.path}`,
    hint: () => "run 'npm run setup', which builds it (gcc and libc6-dev, or musl-tools)",
  },
  GUEST_DISK_FAILED: {
    status: 500,
    message: (p: { disk: string; reason: string }) => `the disk ${p.disk} can't be made: ${p.reason}`,
  },
});

const packageOf: Readonly<Record<string, string>> = {
  "apt-get": "apt",
  "dpkg-deb": "dpkg",
  "mkfs.ext4": "e2fsprogs",
  debugfs: "e2fsprogs",
  "qemu-img": "qemu-utils",
  "qemu-system-x86_64": "qemu-system-x86",
  "qemu-system-aarch64": "qemu-system-arm",
};

/** What is installed to make a distribution's base an operating system of a machine: the equivalent of its cloud image. */
import type { Release } from "../images/bootstrap/distribution.ts";

/** Wanted in every release. cloud-init takes the seed, the guest agent the host's questions. */
const common: readonly string[] = [
  "systemd-sysv",
  "udev",
  "dbus",
  "libpam-systemd",
  "cloud-init",
  "qemu-guest-agent",
  "openssh-server",
  "sudo",
  "e2fsprogs",
  "iproute2",
  "iputils-ping",
  "procps",
  "netbase",
  "ca-certificates",
  "systemd-timesyncd",
  "tzdata",
  "less",
  "vim-tiny",
  // The initial root is made smaller by it, and read faster.
  "zstd",
];

/** Releases in which systemd itself has the resolver. */
const withOwnResolver: ReadonlySet<string> = new Set(["buster", "bullseye", "bionic", "focal", "jammy"]);

export function distributionPackages({ distribution, suite }: Release, architecture: string): readonly string[] {
  const kernel = distribution === "debian" ? `linux-image-cloud-${architecture}` : "linux-image-virtual";
  return [kernel, ...common, ...(withOwnResolver.has(suite) ? [] : ["systemd-resolved"])];
}

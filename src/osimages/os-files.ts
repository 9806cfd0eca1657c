/** What a root file system gets to be one of a machine: mount table, boot menu, network, first boot. Pure. */
import { menuPath } from "./boot-loader.ts";
import type { OverlayFile } from "./overlay-files.ts";
import { type InstalledKernel, mountPoints, type RootTree } from "./root-tree.ts";

export interface OsFilesRequest {
  readonly tree: RootTree;
  readonly kernel: InstalledKernel;
  readonly rootUuid: string;
  /** Words for the kernel beside those that are always there. */
  readonly kernelWords: readonly string[];
  /** The static program of guest/osinit, which grows the root file system to its disk. */
  readonly growRoot: Uint8Array;
  /** Made by Berth of packages; what a user has made keeps its own timers and settings. */
  readonly fresh: boolean;
}

/** Files to put over the tree. */
export function osFiles(request: OsFilesRequest): readonly OverlayFile[] {
  const { tree, rootUuid } = request;
  return [
    ...mountPoints.filter((name) => tree.missing.includes(name)).map(mountPoint),
    file("etc/fstab", `UUID=${rootUuid} / ext4 defaults,errors=remount-ro 0 1\n`),
    file(menuPath, bootMenu(request)),
    ...(tree.init === "systemd" ? systemdFiles(request) : []),
    ...(tree.cloudInit ? [file("etc/cloud/cloud.cfg.d/90_berth.cfg", cloudConfig)] : []),
  ];
}

/** Paths to remove: what makes one machine the copy of another, and what only containers should have. */
export function unwantedFiles({ tree, fresh }: Pick<OsFilesRequest, "tree" | "fresh">): readonly string[] {
  return [
    ...tree.hostKeys.map((name) => `/etc/ssh/${name}`),
    ...(tree.policy ? ["/usr/sbin/policy-rc.d"] : []),
    ...(fresh ? freshUnwanted : []),
  ];
}

/** A container's ways of apt, and timers whose work slows down a machine's first minutes. */
const freshUnwanted: readonly string[] = [
  "/etc/apt/apt.conf.d/docker-clean",
  "/etc/apt/apt.conf.d/docker-gzip-indexes",
  "/etc/systemd/system/timers.target.wants/apt-daily.timer",
  "/etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer",
  "/etc/systemd/system/timers.target.wants/e2scrub_all.timer",
  "/etc/systemd/system/multi-user.target.wants/e2scrub_reap.service",
];

function mountPoint(name: (typeof mountPoints)[number]): OverlayFile {
  return { kind: "directory", path: name, mode: name === "tmp" ? 0o1777 : 0o755 };
}

function bootMenu({ kernel, rootUuid, kernelWords }: OsFilesRequest): string {
  const words = [`root=UUID=${rootUuid}`, "ro", "console=tty0", "console=ttyS0", ...kernelWords];
  return [
    "# What Berth's boot loader starts. The names follow the newest kernel where the distribution keeps links to it.",
    "serial --unit=0 --speed=115200",
    "terminal_input console serial",
    "terminal_output console serial",
    "set timeout=0",
    `linux ${kernel.image} ${words.join(" ")}`,
    ...(kernel.initrd === undefined ? [] : [`initrd ${kernel.initrd}`]),
    "boot",
    "",
  ].join("\n");
}

const unitDirectory = "etc/systemd/system";

function systemdFiles({ tree, growRoot }: OsFilesRequest): readonly OverlayFile[] {
  return [
    // Empty: made at the first boot, another in each machine.
    file("etc/machine-id", "", 0o444),
    file("usr/lib/berth/grow-root", growRoot, 0o755),
    file(`${unitDirectory}/berth-grow-root.service`, growRootUnit),
    enabled("berth-grow-root.service", "sysinit.target.wants", `/${unitDirectory}/berth-grow-root.service`),
    ...(tree.networkd ? networkFiles(tree) : []),
    ...(tree.sshd
      ? [
          file(`${unitDirectory}/berth-ssh-key.service`, sshKeyUnit),
          enabled("berth-ssh-key.service", "multi-user.target.wants", `/${unitDirectory}/berth-ssh-key.service`),
        ]
      : []),
  ];
}

function networkFiles({ resolved, mergedUsr }: RootTree): readonly OverlayFile[] {
  const units = mergedUsr ? "/usr/lib/systemd/system" : "/lib/systemd/system";
  const unit = (name: string, wants: string) => enabled(name, wants, `${units}/${name}`);
  return [
    file("etc/systemd/network/80-berth-dhcp.network", dhcpNetwork),
    unit("systemd-networkd.service", "multi-user.target.wants"),
    unit("systemd-networkd.socket", "sockets.target.wants"),
    unit("systemd-networkd-wait-online.service", "network-online.target.wants"),
    ...(resolved
      ? [
          unit("systemd-resolved.service", "sysinit.target.wants"),
          symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"),
        ]
      : []),
  ];
}

/** After those of cloud-init and netplan, which begin with 10-. */
const dhcpNetwork = `[Match]
Type=ether
Name=en* eth*

[Network]
DHCP=yes
`;

/** The disk of a machine can be larger than the image's: partition and file system follow, at each boot and at once. */
const growRootUnit = `[Unit]
Description=Grow the root file system to its disk
DefaultDependencies=no
After=systemd-remount-fs.service
Before=sysinit.target

[Service]
Type=oneshot
ExecStart=/usr/lib/berth/grow-root grow
RemainAfterExit=yes

[Install]
WantedBy=sysinit.target
`;

/** One kind of key: an RSA key takes an emulated processor seconds. */
const sshKeyUnit = `[Unit]
Description=Make this machine's own SSH host key
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service sshd.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key

[Install]
WantedBy=multi-user.target
`;

/**
 * cloud-init looks for a seed on a disk, and does nothing where there is none. The root grows without it, much faster; a new
 * instance id (a clone) gets another host key; of its modules only those are called that a seed can ask for.
 */
const cloudConfig = `# Written by Berth.
datasource_list: [ NoCloud ]
ssh_deletekeys: true
ssh_genkeytypes: [ ed25519 ]
cloud_init_modules:
  - bootcmd
  - write-files
  - disk_setup
  - mounts
  - set_hostname
  - update_hostname
  - update_etc_hosts
  - ca-certs
  - users-groups
  - ssh
cloud_config_modules:
  - set-passwords
  - ntp
  - timezone
  - runcmd
cloud_final_modules:
  - package-update-upgrade-install
  - write-files-deferred
  - scripts-vendor
  - scripts-per-once
  - scripts-per-boot
  - scripts-per-instance
  - scripts-user
  - phone-home
  - final-message
  - power-state-change
`;

function file(path: string, content: string | Uint8Array, mode = 0o644): OverlayFile {
  return { kind: "file", path, content, mode };
}

function symlink(path: string, target: string): OverlayFile {
  return { kind: "symlink", path, target };
}

function enabled(name: string, wants: string, target: string): OverlayFile {
  return symlink(`${unitDirectory}/${wants}/${name}`, target);
}

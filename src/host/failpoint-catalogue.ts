import type { KernelOp } from "./kernel-ops.ts";

/** A line for every kernel operation: the type demands one for each that is added. */
const kernelPoints = {
  mount: "mount a file system, bind a path or change a mount's propagation",
  unmount: "take a mount away",
  "netns-create": "make and pin a network namespace",
  "netns-remove": "unpin a network namespace",
  "bridge-create": "make a bridge",
  "veth-create": "make a pair of links between a bridge and a namespace",
  "bridge-join": "put a link into a bridge",
  "link-configure": "give a link its addresses and routes",
  "link-delete": "delete a link",
  "route-replace": "set a route",
  "route-delete": "delete a route",
  sysctl: "write a kernel parameter",
  "set-xattr": "set an extended attribute",
  mknod: "make a device node",
  "nft-script": "load rules into the engine's own nftables table",
  "nft-add-elements": "add published ports or addresses to a map of the firewall",
  "nft-delete-elements": "take elements out of a map of the firewall",
  "nft-require": "ask whether the firewall's table is there",
  "conntrack-forget": "forget the tracked connections to a port",
} as const satisfies Readonly<Record<KernelOp["op"], string>>;

const otherPoints = {
  "archive.extract": "unpack a tar into a root file system, a volume or a build context",
  "archive.make-directories": "make directories inside a root file system",
  "archive.remove": "remove files inside a root file system",
  "cgroup.create": "make a control group",
  "cgroup.enter": "move a process into a control group",
  "cgroup.freeze": "freeze a control group",
  "cgroup.kill": "kill everything in a control group",
  "cgroup.limits": "write a control group's limits",
  "cgroup.remove": "remove a control group",
  "cgroup.thaw": "thaw a control group",
  "directory.make": "make a directory",
  "directory.remove": "remove a directory, with all that is in it where it may have something",
  "file.attributes": "change a file's mode or owner",
  "file.copy": "copy a file",
  "file.remove": "remove a file",
  "file.rename": "give a file or directory that is finished its name, or take the name away",
  "file.write": "write a whole file",
  "gate.open": "let a container that is created run its first instruction",
  "process.conmon": "start the monitor that has the runtime create a container",
  "process.conmon.control": "tell a monitor the size of its terminal, or to open its log anew",
  "process.conmon.exec": "start the monitor of an exec",
  "process.conmon.go": "let a monitor that waits go on",
  "process.decompress": "start xz or bzip2 on an archive",
  "process.dnsmasq": "start a network's DNS server",
  "process.git": "run git for a build context",
  "process.iptables": "run iptables beside another engine's rules",
  "process.mmdebstrap": "run mmdebstrap for a base image",
  "process.nft": "run nft",
  "process.other": "run another program (ps, a credential helper, a check of a version)",
  "process.qemu-img": "run qemu-img on a machine's disk",
  "process.runtime.exec": "have the runtime start a further process in a container",
  "process.runtime.start": "have the runtime start a container itself",
  "process.signal": "send a signal to a process",
  "process.sync": "run sync on the layers' file system",
  "qemu.command": "have QEMU change something of a machine that runs",
  "state.commit": "commit a transaction of the records",
  "state.sync": "wait until the records that were committed are on the disk",
} as const satisfies Readonly<Record<string, string>>;

type KernelPoint = `kernel.${KernelOp["op"]}`;
export type FailpointName = KernelPoint | keyof typeof otherPoints;

/** Every failpoint with what it stands in front of, by name. */
export const failpointCatalogue: ReadonlyMap<string, string> = new Map(
  [
    ...Object.entries(kernelPoints).map(([op, text]): [string, string] => [`kernel.${op}`, text]),
    ...Object.entries(otherPoints),
  ].sort(([a], [b]) => (a < b ? -1 : 1)),
);

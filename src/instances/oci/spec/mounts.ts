import type { ResolvedMount } from "../../driver.ts";
import type { OciMount } from "./oci-spec.ts";

export interface MountsRequest {
  /** The instance's own: binds, volumes, tmpfs, resolv.conf, hosts, hostname. */
  readonly mounts: readonly ResolvedMount[];
  /** Bytes of /dev/shm. */
  readonly shmSize: number;
  /** "none" has no /dev/shm; "host" and a joined one bring theirs as a mount of the instance's own. */
  readonly ipcMode: string;
  readonly privileged: boolean;
  readonly readonlyRootfs: boolean;
  /** Host path of an init program, mounted at {@link initPath}. */
  readonly init?: string;
  /** The kernel and the runtime can make a bind mount read-only with all mounts below it. */
  readonly recursiveReadOnly: boolean;
}

/** Where `--init` finds its program. */
export const initPath = "/sbin/docker-init";

/**
 * Docker's mounts, then the instance's own ordered by depth, so that a parent never covers its children. An own mount
 * takes the place of a default one with the same target; an own /dev takes that of everything below it.
 */
export function containerMounts(request: MountsRequest): readonly OciMount[] {
  const own = request.mounts.map((mount) => ownMount(mount, request)).sort(byDepth);
  const taken = new Set(own.map((mount) => mount.destination));
  const defaults = defaultMounts(request.shmSize)
    .filter((mount) => !taken.has(mount.destination))
    .filter((mount) => !(taken.has("/dev") && mount.destination.startsWith("/dev/")))
    .filter((mount) => !(request.ipcMode === "none" && mount.destination === "/dev/shm"))
    .map((mount) => withAccess(mount, request));
  const init: readonly OciMount[] =
    request.init === undefined
      ? []
      : [{ destination: initPath, type: "bind", source: request.init, options: ["bind", "ro"] }];
  return [...defaults, ...own, ...init];
}

/** How the root has to be mounted so that mounts travel through `mounts` as they ask; undefined leaves the runtime's. */
export function rootPropagation(mounts: readonly ResolvedMount[]): string | undefined {
  const words = new Set(mounts.flatMap((mount) => mount.options));
  if (words.has("shared") || words.has("rshared")) return "shared";
  return words.has("slave") || words.has("rslave") ? "rslave" : undefined;
}

const pseudo = ["nosuid", "noexec", "nodev"];

function defaultMounts(shmSize: number): readonly OciMount[] {
  return [
    { destination: "/proc", type: "proc", source: "proc", options: pseudo },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: [...pseudo, "ro"] },
    { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro", ...pseudo] },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: pseudo },
    { destination: "/dev/shm", type: "tmpfs", source: "shm", options: [...pseudo, "mode=1777", `size=${shmSize}`] },
  ];
}

/** Stay writable under a read-only root file system. */
const writable: ReadonlySet<string> = new Set(["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"]);

function withAccess(mount: OciMount, request: MountsRequest): OciMount {
  const unlocked = request.privileged && (mount.type === "sysfs" || mount.type === "cgroup");
  if (unlocked) return { ...mount, options: mount.options.filter((option) => option !== "ro") };
  const locked = request.readonlyRootfs && !writable.has(mount.destination) && !mount.options.includes("ro");
  return locked ? { ...mount, options: [...mount.options, "ro"] } : mount;
}

function ownMount(mount: ResolvedMount, request: MountsRequest): OciMount {
  if (mount.type === "tmpfs") {
    const options = tmpfsOptions(["rprivate", ...mount.options]);
    return { destination: mount.target, type: "tmpfs", source: "tmpfs", options };
  }
  const recursive = request.recursiveReadOnly && mount.options.includes("rbind");
  const options = recursive ? mount.options.map((option) => (option === "ro" ? "rro" : option)) : mount.options;
  return { destination: mount.target, type: "bind", source: mount.source, options };
}

const opposites: readonly (readonly [string, string])[] = [
  ["exec", "noexec"],
  ["suid", "nosuid"],
  ["dev", "nodev"],
  ["rw", "ro"],
  ["atime", "noatime"],
  ["diratime", "nodiratime"],
  ["sync", "async"],
];

/** With Docker's own before them. Of words that contradict each other, and of settings of one key ("size="), the last stays. */
export function tmpfsOptions(stated: readonly string[]): readonly string[] {
  const merged = new Map<string, string>();
  for (const option of ["noexec", "nosuid", "nodev", ...stated]) {
    const pair = opposites.find((words) => words.includes(option));
    const key = pair?.[0] ?? option.split("=")[0] ?? option;
    merged.delete(key);
    merged.set(key, option);
  }
  return [...merged.values()];
}

function byDepth(a: OciMount, b: OciMount): number {
  return depth(a.destination) - depth(b.destination);
}

function depth(path: string): number {
  return path.split("/").filter((part) => part !== "").length;
}

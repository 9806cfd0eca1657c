/** What a root file system has of an operating system. Read behind the wall of a confined root: its links lead nowhere outside. */
import type { ConfinedRoot, FileStat } from "../archive/confined-root.ts";
import { isBerthError } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";

export interface InstalledKernel {
  /** Paths in the tree, absolute. Links where the distribution keeps some to the newest: an upgrade in the machine is then booted. */
  readonly image: string;
  /** Undefined: there is none. */
  readonly initrd: string | undefined;
}

export interface RootTree {
  readonly kernel: InstalledKernel | undefined;
  /** What PID 1 is: systemd, or another program at /sbin/init. */
  readonly init: "systemd" | "other" | undefined;
  /** /lib is a link to usr/lib. */
  readonly mergedUsr: boolean;
  readonly cloudInit: boolean;
  /** systemd-networkd is there, and nothing else that configures networks. */
  readonly networkd: boolean;
  readonly resolved: boolean;
  readonly sshd: boolean;
  /** /usr/sbin/policy-rc.d: keeps services of packages from being started, in containers. */
  readonly policy: boolean;
  readonly modprobe: boolean;
  /** Names in /etc/ssh of keys that are to be this machine's alone. */
  readonly hostKeys: readonly string[];
  /** Top directories that are missing and are mounted on. */
  readonly missing: readonly string[];
}

export const mountPoints = ["dev", "proc", "run", "sys", "tmp"] as const;

export async function inspectRoot(ctx: OpContext, root: ConfinedRoot): Promise<RootTree> {
  const stat = async (path: string, follow = true): Promise<FileStat | undefined> => {
    try {
      return await root.stat(ctx, path, { follow });
    } catch (error) {
      if (isBerthError(error, "PATH_NOT_FOUND")) return undefined;
      throw error;
    }
  };
  const has = async (...paths: readonly string[]) => {
    for (const path of paths) if ((await stat(path)) !== undefined) return true;
    return false;
  };
  const inLib = (path: string) => [`/usr/lib/${path}`, `/lib/${path}`];
  const otherNetwork = ["/usr/sbin/NetworkManager", "/usr/sbin/netplan", "/sbin/ifup", "/usr/sbin/ifup"];
  const missing: string[] = [];
  for (const name of mountPoints) if (!(await has(`/${name}`))) missing.push(name);
  const systemd = await has(...inLib("systemd/systemd"));
  return {
    kernel: await findKernel(ctx, root, stat),
    init: systemd ? "systemd" : (await has("/sbin/init")) ? "other" : undefined,
    mergedUsr: (await stat("/lib", false))?.kind === "symlink",
    cloudInit: await has("/usr/bin/cloud-init"),
    networkd: (await has(...inLib("systemd/systemd-networkd"))) && !(await has(...otherNetwork)),
    resolved: await has(...inLib("systemd/systemd-resolved")),
    sshd: await has("/usr/sbin/sshd"),
    policy: await has("/usr/sbin/policy-rc.d"),
    modprobe: await has("/sbin/modprobe", "/usr/sbin/modprobe"),
    hostKeys: (await names(ctx, root, "/etc/ssh", stat)).filter((name) => /^ssh_host_.*_key(\.pub)?$/.test(name)),
    missing,
  };
}

type Stat = (path: string, follow?: boolean) => Promise<FileStat | undefined>;

async function findKernel(ctx: OpContext, root: ConfinedRoot, stat: Stat): Promise<InstalledKernel | undefined> {
  const isFile = async (path: string) => (await stat(path))?.kind === "file";
  for (const directory of ["", "/boot"]) {
    if (!(await isFile(`${directory}/vmlinuz`))) continue;
    const initrd = `${directory}/initrd.img`;
    return { image: `${directory}/vmlinuz`, initrd: (await isFile(initrd)) ? initrd : undefined };
  }
  const inBoot = await names(ctx, root, "/boot", stat);
  const newest = newestKernel(inBoot);
  if (newest === undefined) return undefined;
  const initrd = [`initrd.img-${newest}`, `initramfs-${newest}.img`, `initrd-${newest}`].find((name) =>
    inBoot.includes(name),
  );
  return { image: `/boot/vmlinuz-${newest}`, initrd: initrd === undefined ? undefined : `/boot/${initrd}` };
}

/** The highest version among "vmlinuz-VERSION", number by number; rescue kernels don't count. */
export function newestKernel(files: readonly string[]): string | undefined {
  return files
    .flatMap((name) => (/^vmlinuz-(?!0-rescue)/.test(name) ? [name.slice("vmlinuz-".length)] : []))
    .toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }))
    .at(-1);
}

async function names(ctx: OpContext, root: ConfinedRoot, directory: string, stat: Stat): Promise<readonly string[]> {
  if ((await stat(directory))?.kind !== "directory") return [];
  const all = await root.list(ctx, directory);
  return all.map(({ path }) => path).filter((path) => !path.includes("/"));
}

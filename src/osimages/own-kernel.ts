/** A kernel for a tree that has none: Debian's cloud kernel, with an initial root of Berth's own that finds the root file system. */
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { ConfinedRoot, ConfinedRoots } from "../archive/confined-root.ts";
import type { OpContext } from "../base/op-context.ts";
import { type CpioEntry, S_IFDIR, S_IFREG, writeCpio } from "../guest/cpio.ts";
import { collectModules, type KernelModule } from "../guest/kernel-modules.ts";
import { unpackKernelPackage } from "../guest/kernel-package.ts";
import { mkdir } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import type { OverlayFile } from "./overlay-files.ts";
import type { InstalledKernel, RootTree } from "./root-tree.ts";
import { runTool } from "./run-tool.ts";

export interface OwnKernel {
  readonly installed: InstalledKernel;
  /** To put over the tree. */
  readonly files: readonly OverlayFile[];
  /** Copies all modules into the tree, for one that loads its own. */
  readonly addModules: (ctx: OpContext, root: ConfinedRoot) => Promise<void>;
}

/** For disks and cards of machines, the power button, and what a machine's monitor measures. */
const modules: readonly string[] = [
  "virtio_pci",
  "virtio_blk",
  "virtio_scsi",
  "sd_mod",
  "virtio_net",
  "virtio_console",
  "virtio_rng",
  "virtio_balloon",
  "button",
  "evdev",
];

/** `directory` exists, is the caller's to remove, and is where the package is unpacked. */
export async function ownKernel(
  ctx: OpContext,
  parts: { readonly host: Pick<Host, "processes" | "facts">; readonly roots: ConfinedRoots },
  what: {
    readonly kernelPackage: string;
    readonly directory: string;
    readonly osinit: Uint8Array;
    readonly tree: RootTree;
  },
): Promise<OwnKernel> {
  const unpacked = join(what.directory, "kernel");
  await mkdir(unpacked, { mode: 0o700 });
  const kernel = await unpackKernelPackage(ctx, parts.host, what.kernelPackage, unpacked);
  const initrd = "/boot/berth/initrd";
  const found = await collectModules(kernel.modules, modules);
  const image = `/boot/${basename(kernel.image)}`;
  return {
    installed: { image, initrd },
    files: [
      { kind: "file", path: image.slice(1), content: await readFile(kernel.image), mode: 0o644 },
      { kind: "file", path: initrd.slice(1), content: initialRoot(what.osinit, found), mode: 0o600 },
    ],
    addModules: async (ctx, root) => {
      if (!what.tree.modprobe) return;
      // Where depmod looks; the package of a distribution with a merged /usr has them elsewhere.
      const base = kernel.modules.slice(0, kernel.modules.indexOf("/lib/modules/"));
      await runTool(ctx, parts.host, { step: "depmod", program: "depmod", words: ["-b", base, kernel.version] });
      await using source = await parts.roots.open(ctx, kernel.modules);
      const packed = await source.pack(ctx, { path: "/", rename: "", semantics: "plain" });
      const into = `${what.tree.mergedUsr ? "/usr" : ""}/lib/modules/${kernel.version}`;
      await root.makeDirectories(ctx, into, { mode: 0o755, uid: 0, gid: 0 });
      await root.extract(ctx, { source: { stream: packed }, compression: "none", into, semantics: "plain" });
    },
  };
}

function initialRoot(osinit: Uint8Array, found: readonly KernelModule[]): Uint8Array {
  const directory = (name: string): CpioEntry => ({ name, mode: S_IFDIR | 0o755, data: new Uint8Array() });
  const file = (name: string, data: Uint8Array, mode = 0o644): CpioEntry => ({ name, mode: S_IFREG | mode, data });
  return writeCpio([
    directory("dev"),
    directory("modules"),
    file("init", osinit, 0o755),
    file("modules/order", Buffer.from(found.map(({ name }) => `${name}.ko\n`).join(""))),
    ...found.map(({ name, data }) => file(`modules/${name}.ko`, data)),
  ]);
}

/**
 * Kernel modules for the guest, in the order in which they can be loaded. What a module needs is read from itself (its .modinfo
 * section): a package that was only unpacked has no modules.dep.
 */
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { guestErrors } from "./errors.ts";

export interface KernelModule {
  /** As the kernel calls it: "virtio_net". */
  readonly name: string;
  /** Its file, without the signature that the build appended: checking it costs time under emulation, and nothing asks for it. */
  readonly data: Buffer;
}

/** What the machine's fixed layout of devices and the root file system need. */
export const guestModules: readonly string[] = [
  "virtio_pci",
  "virtio_console",
  "virtio_blk",
  "virtio_net",
  "virtio_rng",
  "virtio_balloon",
  "overlay",
  "virtiofs",
];

/** Beside ext4, which overlays need anyway: what distributions put their root on. */
export const diskModules: readonly string[] = ["xfs", "btrfs"];

/**
 * `wanted` and all that they need, each after what it needs, from below `directory` (lib/modules/VERSION). One that the kernel has built
 * in (modules.builtin) is left out.
 */
export async function collectModules(directory: string, wanted: readonly string[]): Promise<readonly KernelModule[]> {
  const files = await moduleFiles(directory);
  const builtIn = new Set(
    (await readFile(join(directory, "modules.builtin"), "utf8")).split("\n").filter(Boolean).map(moduleName),
  );
  const ordered = new Map<string, KernelModule>();
  const add = async (name: string, path: readonly string[]): Promise<void> => {
    if (ordered.has(name) || builtIn.has(name)) return;
    const file = files.get(name);
    if (file === undefined) throw guestErrors.KERNEL_UNUSABLE({ reason: `it has no module ${name}` });
    if (path.includes(name)) throw guestErrors.KERNEL_UNUSABLE({ reason: `its module ${name} needs itself` });
    const data = withoutSignature(await readFile(file));
    for (const needed of dependenciesOf(data)) await add(needed, [...path, name]);
    ordered.set(name, { name, data });
  };
  for (const name of wanted) await add(name, []);
  return [...ordered.values()];
}

/** Names in the `depends=` of a module's .modinfo. */
export function dependenciesOf(module: Buffer): readonly string[] {
  const key = module.indexOf("\0depends=");
  if (key === -1) return [];
  const start = key + "\0depends=".length;
  const text = module.toString("latin1", start, module.indexOf(0, start));
  return text.split(",").filter(Boolean).map(moduleName);
}

const signatureMagic = Buffer.from("~Module signature appended~\n");
/** struct module_signature: eight bytes of kinds and lengths, then the signature's length, big endian. */
const signatureInfo = 12;

/** The module without what the kernel's build appended to it (scripts/sign-file.c). */
export function withoutSignature(module: Buffer): Buffer {
  const infoEnd = module.length - signatureMagic.length;
  if (infoEnd < signatureInfo || !module.subarray(infoEnd).equals(signatureMagic)) return module;
  const length = module.readUInt32BE(infoEnd - 4);
  return length > infoEnd - signatureInfo ? module : module.subarray(0, infoEnd - signatureInfo - length);
}

async function moduleFiles(directory: string): Promise<ReadonlyMap<string, string>> {
  const entries = await readdir(directory, { recursive: true });
  return new Map(
    entries.filter((path) => path.endsWith(".ko")).map((path) => [moduleName(path), join(directory, path)]),
  );
}

/** "kernel/drivers/char/hw_random/virtio-rng.ko" -> "virtio_rng". */
function moduleName(path: string): string {
  return basename(path.trim(), ".ko").replaceAll("-", "_");
}

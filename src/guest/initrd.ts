import { type CpioEntry, S_IFDIR, S_IFREG, writeCpio } from "./cpio.ts";
import type { KernelModule } from "./kernel-modules.ts";

/**
 * The guest's initial root: the agent as /init, and the modules with their order, which it loads; those of `later` only when it needs them.
 * Not compressed: that would cost more than it saves.
 */
export function makeInitrd(
  agent: Uint8Array,
  modules: readonly KernelModule[],
  later: readonly KernelModule[] = [],
): Buffer {
  return writeCpio([
    directory("dev"),
    directory("modules"),
    { name: "init", mode: S_IFREG | 0o755, data: agent },
    listOf("order", modules),
    ...(later.length === 0 ? [] : [listOf("later", later)]),
    ...[...modules, ...later].map(
      ({ name, data }): CpioEntry => ({ name: `modules/${name}.ko`, mode: S_IFREG | 0o644, data }),
    ),
  ]);
}

function listOf(name: string, modules: readonly KernelModule[]): CpioEntry {
  const text = modules.map((each) => `${each.name}.ko\n`).join("");
  return { name: `modules/${name}`, mode: S_IFREG | 0o644, data: Buffer.from(text) };
}

function directory(name: string): CpioEntry {
  return { name, mode: S_IFDIR | 0o755, data: new Uint8Array() };
}

import { type CpioEntry, S_IFDIR, S_IFREG, writeCpio } from "./cpio.ts";
import type { KernelModule } from "./kernel-modules.ts";

/** The guest's initial root: the agent as /init, and the modules with their order, which it loads. Not compressed: that would cost more than it saves. */
export function makeInitrd(agent: Uint8Array, modules: readonly KernelModule[]): Buffer {
  const order = modules.map(({ name }) => `${name}.ko\n`).join("");
  return writeCpio([
    directory("dev"),
    directory("modules"),
    { name: "init", mode: S_IFREG | 0o755, data: agent },
    { name: "modules/order", mode: S_IFREG | 0o644, data: Buffer.from(order) },
    ...modules.map(({ name, data }): CpioEntry => ({ name: `modules/${name}.ko`, mode: S_IFREG | 0o644, data })),
  ]);
}

function directory(name: string): CpioEntry {
  return { name, mode: S_IFDIR | 0o755, data: new Uint8Array() };
}

import type { FileStat } from "../../archive/confined-root.ts";

/** Bits of Go's os.FileMode, which Docker's API speaks. Above bit 30, so not for JavaScript's signed operators. */
const kindBits: Readonly<Record<FileStat["kind"], number>> = {
  file: 0,
  directory: 2 ** 31,
  symlink: 2 ** 27,
  block: 2 ** 26,
  fifo: 2 ** 25,
  socket: 2 ** 24,
  char: 2 ** 26 + 2 ** 21,
};

export function goFileMode({ kind, mode }: Pick<FileStat, "kind" | "mode">): number {
  const special =
    ((mode & 0o4000) !== 0 ? 2 ** 23 : 0) +
    ((mode & 0o2000) !== 0 ? 2 ** 22 : 0) +
    ((mode & 0o1000) !== 0 ? 2 ** 20 : 0);
  return kindBits[kind] + special + (mode & 0o777);
}

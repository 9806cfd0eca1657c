import { join } from "node:path";
import type { DiskImage } from "../../disks/virtual-disks.ts";
import { disksDir, files } from "../../instances/machine/layout.ts";
import type { MachineSpec } from "../../schema/machine.ts";
import { liveErrors } from "./errors.ts";

/** A disk that snapshots of a machine are kept in: QEMU's node of it, and its file. */
export interface KeptDisk extends DiskImage {
  readonly node: string;
}

/** All that a machine writes to, the one that has room for memory first. `SNAPSHOT_NEEDS_QCOW2`, `SNAPSHOT_NEEDS_DISK`. */
export function keptDisks(machine: string, { disks, firmware }: MachineSpec, dataDir: string): readonly KeptDisk[] {
  const writable = disks.filter(({ readOnly }) => !readOnly);
  const raw = writable.find(({ format }) => format !== "qcow2");
  if (raw !== undefined) throw liveErrors.SNAPSHOT_NEEDS_QCOW2({ machine, disk: raw.name });
  if (writable.length === 0) throw liveErrors.SNAPSHOT_NEEDS_DISK({ machine });
  const at = (file: string) => ({ file: join(disksDir(dataDir), file), format: "qcow2" }) as const;
  return [
    ...writable.map(({ name, file }) => ({ node: name, ...at(file) })),
    ...(firmware === "uefi" ? [{ node: "uefi-vars", ...at(files.uefiVariables) }] : []),
  ];
}

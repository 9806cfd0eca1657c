/** Where a whole-OS machine's files are: on the host, and as QEMU in its jail sees them. */
import { join } from "node:path";

/**
 * Disks and bases lie to each other as they do on the host, so that an overlay's relative path to its base leads there from both sides,
 * and the data root can be moved.
 */
export const inJail = {
  vmm: "/berth/vmm",
  spec: "/berth/spec",
  run: "/berth/run",
  tpm: "/berth/tpm",
  disks: (id: string) => `/berth/instances/${id}/disks`,
  base: (file: string) => `/berth/machines/bases/${file}`,
} as const;

/** As a disk's overlay names its base. */
export const baseFromDisks = (file: string) => `../../../machines/bases/${file}`;

/** The one directory of a machine that holds its disks, ISOs, seed and UEFI variables. */
export const disksDir = (dataDir: string) => join(dataDir, "disks");
export const tpmDir = (dataDir: string) => join(dataDir, "tpm");
/** Read-only disks that machines share, by content digest. */
export const basesDir = (dataRoot: string) => join(dataRoot, "machines", "bases");
/** Of a prepared or running machine: its sockets. */
export const socketsDir = (runDir: string) => join(runDir, "run");

/** Files in {@link disksDir} that are no disk of the specification's. */
export const files = { seed: "seed.img", uefiVariables: "uefi-vars.qcow2" } as const;

/** Sockets of a machine on its way, in its run directory. */
import { join } from "node:path";
import { inJail } from "../../instances/machine/layout.ts";
import type { TransferChannel } from "./peer.ts";

const names: Readonly<Record<TransferChannel, string>> = { disks: "move-disks.sock", memory: "move-memory.sock" };

/** As QEMU sees them. */
export const socketsInJail = {
  diskSocket: `${inJail.run}/${names.disks}`,
  memorySocket: `${inJail.run}/${names.memory}`,
} as const;

/** On the host. */
export const socketOf = (socketsDir: string, channel: TransferChannel) => join(socketsDir, names[channel]);

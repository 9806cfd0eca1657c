/** What is told of a machine before it moves, and what it can't be moved with. */
import { readFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import type { OpContext } from "../../base/op-context.ts";
import { disksDir, files } from "../../instances/machine/layout.ts";
import { nodeSizes, usesKvm } from "../../qemu/migration.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import type { MachineSpec } from "../../schema/machine.ts";
import type { MachineTransfer } from "../../schema/machine-migrate-api.ts";
import { cloudInitFile } from "../create.ts";
import { devicesOf } from "../live/devices-of.ts";
import { readBook } from "../live/snapshot-book.ts";
import type { MachineRecord } from "../parts.ts";
import { migrateErrors } from "./errors.ts";

/** `MIGRATION_REFUSED`, `MIGRATION_HAS_SNAPSHOTS`. */
export async function transferOf(
  ctx: OpContext,
  record: MachineRecord,
  dataDir: string,
  qmp: QmpClient,
): Promise<MachineTransfer> {
  const { spec, name, state } = record;
  const { machine } = spec;
  const { devices, pluggedIn } = await devicesOf(ctx, qmp);
  const reason = refusalOf(record, pluggedIn);
  if (reason !== undefined) throw migrateErrors.MIGRATION_REFUSED({ machine: name, reason });
  const { snapshots } = await readBook(dataDir);
  if (snapshots.length > 0)
    throw migrateErrors.MIGRATION_HAS_SNAPSHOTS({ machine: name, snapshots: snapshots.map((each) => each.name) });
  const sizes = await nodeSizes(ctx, qmp);
  const nodes = writtenNodes(machine);
  const asked = join(dataDir, cloudInitFile);
  return {
    spec,
    qemu: versionText(qmp),
    acceleration: await accelerationOf(ctx, qmp),
    devices: [...devices],
    disks: nodes.map((node) => ({ node, size: sizes.get(node) ?? 1 })),
    addresses: Object.fromEntries(state.endpoints.map(({ networkName, ipv4Cidr }) => [networkName, ipv4Cidr])),
    ...(machine.cloudInit ? { seed: (await readFile(join(disksDir(dataDir), files.seed))).toString("base64") } : {}),
    ...(existsSync(asked) ? { cloudInit: await readFile(asked, "utf8") } : {}),
  };
}

/** QEMU's nodes of all that it writes to. */
export function writtenNodes({ disks, firmware }: MachineSpec): readonly string[] {
  return [...disks.map(({ name }) => name), ...(firmware === "uefi" ? ["uefi-vars"] : [])];
}

export function versionText({ version: { major, minor, micro } }: QmpClient): string {
  return `${major}.${minor}.${micro}`;
}

/** With KVM the guest sees the host's processor. */
export async function accelerationOf(ctx: OpContext, qmp: QmpClient): Promise<string> {
  return (await usesKvm(ctx, qmp)) ? `kvm ${cpus()[0]?.model ?? ""}` : "tcg";
}

function refusalOf({ spec }: MachineRecord, pluggedIn: readonly string[]): string | undefined {
  const { machine } = spec;
  if (machine.tpm) return "it has a TPM, whose secrets stay on this host";
  const [iso] = machine.cdroms.filter(({ file }) => file !== "");
  if (iso !== undefined) return `there is an ISO in its drive ${iso.name} (take it out: berth machine iso eject)`;
  const [readOnly] = machine.disks.filter((disk) => disk.readOnly);
  if (readOnly !== undefined) return `its disk ${readOnly.name} is read-only`;
  if (pluggedIn.length > 0) return `${pluggedIn.join(", ")} came while it runs, and would have another place there`;
  return undefined;
}

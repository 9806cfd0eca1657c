/** Changes of a machine's hardware: recorded first, so that a kill in the middle leaves what the next start makes true. */
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import type { HeldInstance } from "../../instances/instance-service.ts";
import { hotPlugPorts } from "../../instances/machine/qemu-line.ts";
import type { MachineSpec } from "../../schema/machine.ts";
import { machineRoomErrors } from "../errors.ts";
import { isMachine, type MachineParts, type MachineRecord, resolveMachine } from "../parts.ts";
import { liveErrors } from "./errors.ts";
import { requireNotSaved } from "./save.ts";

/** Where QEMU has room for what is plugged in. */
export const hotPorts: readonly string[] = Array.from({ length: hotPlugPorts }, (_, nth) => `hot${nth}`);

/** A machine whose lock is held, and which has no memory kept that its hardware has to fit. */
export interface Changing {
  readonly record: MachineRecord;
  readonly machine: MachineSpec;
  readonly held: HeldInstance;
  readonly dataDir: string;
}

export async function changeMachine<T>(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  work: (at: Changing) => Promise<T>,
): Promise<T> {
  const { id } = resolveMachine(parts, nameOrId);
  return await parts.instances.exclusive(ctx, id, async (held) => {
    const { record, dataDir } = held;
    if (!isMachine(record)) throw machineRoomErrors.MACHINE_NOT_FOUND({ name: nameOrId });
    requireNotSaved(record.name, dataDir);
    return await work({ record, machine: record.spec.machine, held, dataDir });
  });
}

/** Records `changed`, then does `work` to the running machine; when that fails, the record is as it was. */
export async function recordAndDo(
  ctx: OpContext,
  { held, machine }: Changing,
  changed: MachineSpec,
  work: () => Promise<void>,
): Promise<void> {
  await using reverter = new Reverter(ctx);
  held.update((spec) => ({ ...spec, machine: changed }));
  reverter.add("record", () => void held.update((spec) => ({ ...spec, machine })));
  await work();
  reverter.commit();
}

/** Names that QEMU's line has for devices of the engine's. */
const ours =
  /^(rng|balloon|scsi|usb|tablet|screen|channels|agent|tpm.*|seed|uefi-.*|port-.*|hot\d+|cpu\d+|dimm\d+|ram\d+|backup\d+|pcie|ide|sata)$/;

/** `DEVICE_EXISTS`, `DEVICE_NAME_TAKEN`. */
export function requireFreeName({ record, machine }: Changing, device: string): void {
  if (ours.test(device)) throw liveErrors.DEVICE_NAME_TAKEN({ device });
  const taken = [...machine.disks, ...machine.cdroms, ...machine.nics].some(({ name }) => name === device);
  if (taken) throw liveErrors.DEVICE_EXISTS({ device, machine: record.name });
}

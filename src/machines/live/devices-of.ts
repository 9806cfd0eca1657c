import type { OpContext } from "../../base/op-context.ts";
import { namedDevices } from "../../qemu/devices.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import { cpuCount, memorySize } from "../../qemu/size.ts";

export interface DeviceList {
  /** Each device with its kind and its place, and how many processors and how much memory: equal lists take each other's memory. */
  readonly devices: readonly string[];
  /** What was plugged in since the start, for people. */
  readonly pluggedIn: readonly string[];
}

/** A device of the engine's own for what is plugged in: `hot0`… */
const isHotPort = (bus: string) => /\/hot\d+$/.test(bus);

export async function devicesOf(ctx: OpContext, qmp: QmpClient): Promise<DeviceList> {
  const devices: string[] = [];
  const pluggedIn: string[] = [];
  for (const [id, driver] of await namedDevices(ctx, qmp)) {
    const bus = String(
      await qmp.execute(ctx, "qom-get", { path: `/machine/peripheral/${id}`, property: "parent_bus" }),
    );
    devices.push(`${id} ${driver} ${bus}`);
    if (isHotPort(bus)) pluggedIn.push(id);
    else if (/^(cpu|dimm)\d+$/.test(id)) pluggedIn.push(id.startsWith("cpu") ? "a processor" : "memory");
  }
  const { base, plugged } = await memorySize(ctx, qmp);
  devices.push(`${await cpuCount(ctx, qmp)} processors`, `${base}+${plugged} bytes`);
  return { devices: devices.toSorted(), pluggedIn: [...new Set(pluggedIn)] };
}

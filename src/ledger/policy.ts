import { parseSize } from "../base/byte-size.ts";
import type { Quantities, ResourceName } from "../schema/capacity.ts";
import type { EngineConfig } from "../schema/config.ts";
import { eachResource } from "./quantities.ts";

/** How much of what the machine has may be promised. */
export interface Policy {
  /** How often each resource may be promised; 1 is never twice. */
  readonly ratio: Readonly<Record<ResourceName, number>>;
  /** Kept back for the host itself, before the ratio. */
  readonly reserved: Quantities;
}

export type PolicySettings = Pick<
  EngineConfig,
  "overcommitCpu" | "overcommitMemory" | "overcommitPids" | "overcommitDisk" | "reservedMemory" | "reservedDisk"
>;

/** The policy that the engine's settings state. */
export function policyOf(settings: PolicySettings): Policy {
  return {
    ratio: {
      cpu: settings.overcommitCpu,
      memory: settings.overcommitMemory,
      pids: settings.overcommitPids,
      disk: settings.overcommitDisk,
    },
    reserved: {
      cpu: 0,
      memory: parseSize(settings.reservedMemory) ?? 0,
      pids: 0,
      disk: parseSize(settings.reservedDisk) ?? 0,
    },
  };
}

/** What may be allocated of `totals`, in whole units. */
export function limitsOf(totals: Quantities, { ratio, reserved }: Policy): Quantities {
  return eachResource((resource) => Math.floor(Math.max(0, totals[resource] - reserved[resource]) * ratio[resource]));
}

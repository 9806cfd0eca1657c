import { type Quantities, type ResourceName, resourceNames } from "../schema/capacity.ts";

export const nothing: Quantities = { cpu: 0, memory: 0, pids: 0, disk: 0 };

/** What `amount` gives for each resource. */
export function eachResource<T = number>(amount: (resource: ResourceName) => T): Record<ResourceName, T> {
  return { cpu: amount("cpu"), memory: amount("memory"), pids: amount("pids"), disk: amount("disk") };
}

export function sum(all: Iterable<Quantities>): Quantities {
  const total = { ...nothing };
  for (const each of all) for (const resource of resourceNames) total[resource] += each[resource];
  return total;
}

/** The greater of both, resource by resource. */
export function greater(a: Quantities, b: Quantities): Quantities {
  return eachResource((resource) => Math.max(a[resource], b[resource]));
}

export function isNothing(quantities: Quantities): boolean {
  return resourceNames.every((resource) => quantities[resource] === 0);
}

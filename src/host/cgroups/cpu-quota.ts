import type { ResourceSpec } from "../../schema/resources.ts";

/** CFS bandwidth in microseconds, from either way of stating it; undefined when no quota is stated. */
export function cpuQuotaOf(
  resources: ResourceSpec,
): { readonly quota: number; readonly period: number; readonly limit: "nanoCpus" | "cpuQuota" } | undefined {
  const period = resources.cpuPeriod > 0 ? resources.cpuPeriod : 100_000;
  if (resources.nanoCpus > 0)
    return { quota: Math.round((resources.nanoCpus * period) / 1e9), period, limit: "nanoCpus" };
  if (resources.cpuQuota !== 0) return { quota: resources.cpuQuota, period, limit: "cpuQuota" };
  return undefined;
}

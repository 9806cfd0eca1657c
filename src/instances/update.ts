import { isBerthError, messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { InstanceRecord, RestartPolicy, Ulimit } from "../schema/instance.ts";
import { type ResourceSpec, unlimited } from "../schema/resources.ts";
import { instanceErrors } from "./errors.ts";
import { beginOperation } from "./open-operations.ts";
import { driverOf, type Parts } from "./parts.ts";
import { claimOf } from "./request.ts";
import { isActive, resolveInstance } from "./resolve.ts";
import { discardUnsupported, validateResources } from "./validate/resources.ts";
import { validateUlimit } from "./validate/security.ts";
import { requireProbe, validateRestartPolicy } from "./validate/validate.ts";

export interface InstanceChanges {
  readonly resources: Partial<ResourceSpec>;
  readonly restartPolicy?: RestartPolicy;
  /** Added to those it has, or in their place; processes have them from its next start on. */
  readonly ulimits?: readonly Ulimit[];
}

/** See {@link InstanceService.update}. What is 0 or empty stays as it is, as in Docker. Returns warnings. */
export async function updateInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  changes: InstanceChanges,
): Promise<readonly string[]> {
  const machine = { cpus: parts.host.facts.cpus, controllers: parts.host.cgroups.controllers };
  const asked = statedOnly(changes.resources);
  const warnings = validateResources({ ...unlimited, ...asked }, machine, { update: true });
  const able = discardUnsupported(asked, parts.host.cgroups.features);
  const stated = statedOnly(able.resources);
  if (changes.restartPolicy !== undefined) validateRestartPolicy(changes.restartPolicy);
  const { ulimits = [] } = changes;
  for (const limit of ulimits) validateUlimit(limit);

  const { id } = resolveInstance(parts.records, nameOrId);
  using _ = await parts.locks.acquire(id);
  const record = parts.records.require(id);
  refuseConflicts(record, stated, changes.restartPolicy);
  if (changes.restartPolicy !== undefined) requireProbe(changes.restartPolicy, record.spec);
  const resources = { ...record.spec.resources, ...stated };
  validateResources(resources, machine, { update: true });
  // Held until the record has the new limits. One that does not run reserves when it starts.
  using _held = isActive(record)
    ? parts.ledger.admit(claimOf({ ...record, spec: { ...record.spec, resources } }))
    : undefined;
  const restartPolicy = changes.restartPolicy ?? record.spec.restartPolicy;
  // The record first, in one commit with the journal: a start that finds them applies what the record says.
  const { updated, operation } = parts.store.transaction(() => ({
    operation: beginOperation(parts, "instance.update", id),
    updated: parts.records.update(id, (present) => ({
      ...present,
      spec: { ...present.spec, resources, restartPolicy, ulimits: mergeUlimits(present.spec.ulimits, ulimits) },
    })),
  }));
  using _operation = operation;
  try {
    await applyToRun(parts, ctx, record, resources);
  } catch (error) {
    parts.records.update(id, (present) => ({ ...present, spec: record.spec }));
    throw error;
  }
  parts.publish(updated, "update");
  return [...warnings, ...able.warnings, ...(ulimits.length > 0 && isActive(record) ? [ulimitsLater] : [])];
}

const ulimitsLater =
  "Ulimits belong to processes: those that run keep theirs, and the container has the new ones when it is started again.";

function mergeUlimits(present: readonly Ulimit[], stated: readonly Ulimit[]): Ulimit[] {
  return [...new Map([...present, ...stated].map((limit) => [limit.name, limit])).values()];
}

function statedOnly(resources: Partial<ResourceSpec>): Partial<ResourceSpec> {
  const isStated = (value: unknown) =>
    value !== undefined && value !== null && value !== 0 && value !== "" && value !== false && !isEmptyList(value);
  return Object.fromEntries(Object.entries(resources).filter(([, value]) => isStated(value)));
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function refuseConflicts(
  record: InstanceRecord,
  stated: Partial<ResourceSpec>,
  policy: RestartPolicy | undefined,
): void {
  const { id, spec, state } = record;
  const refuse = (reason: string) => instanceErrors.UPDATE_REFUSED({ id, reason });
  const present = spec.resources;
  if (state.status === "removing" || state.status === "dead") {
    throw refuse('container is marked for removal and cannot be "update"');
  }
  if (spec.autoRemove && policy !== undefined && policy.name !== "no") {
    throw refuse("Restart policy cannot be updated because AutoRemove is enabled for the container");
  }
  if (
    spec.machine !== undefined &&
    isActive(record) &&
    (stated.memory !== undefined || stated.nanoCpus !== undefined)
  ) {
    throw refuse(
      "what a machine's guest has of processors and memory is changed by 'berth machine resize', or while it is stopped",
    );
  }
  const conflicts: readonly (readonly [boolean, string, string])[] = [
    [(stated.nanoCpus ?? 0) > 0 && present.cpuPeriod > 0, "Nano CPUs", "CPU Period has"],
    [(stated.nanoCpus ?? 0) > 0 && present.cpuQuota > 0, "Nano CPUs", "CPU Quota has"],
    [(stated.cpuPeriod ?? 0) > 0 && present.nanoCpus > 0, "CPU Period", "NanoCPUs has"],
    [(stated.cpuQuota ?? 0) > 0 && present.nanoCpus > 0, "CPU Quota", "NanoCPUs has"],
  ];
  for (const [conflicting, what, other] of conflicts) {
    if (conflicting) throw refuse(`Conflicting options: ${what} cannot be updated as ${other} already been set`);
  }
  const { memory, memorySwap } = stated;
  if (memory !== undefined && memorySwap === undefined && present.memorySwap >= 0 && memory > present.memorySwap) {
    throw refuse(
      "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
    );
  }
}

/** A stopped instance gets its new limits when it starts. */
async function applyToRun(
  parts: Parts,
  ctx: OpContext,
  record: InstanceRecord,
  resources: ResourceSpec,
): Promise<void> {
  const { handle, status } = record.state;
  if (handle === null || !isActive(record) || status === "restarting") return;
  try {
    await driverOf(parts, record.spec).update(ctx, handle, resources);
  } catch (error) {
    // It has ended, and the engine is about to notice.
    if (isBerthError(error, "TASK_NOT_RUNNING")) return;
    throw instanceErrors.UPDATE_FAILED({ id: record.id, reason: messageOf(error) }, { cause: error });
  }
}

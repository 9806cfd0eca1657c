import type { OpContext } from "../base/op-context.ts";
import { instanceErrors } from "./errors.ts";
import type { HeldInstance } from "./instance-service.ts";
import { dataDir, driverOf, type Parts, runDir } from "./parts.ts";
import { claimOf } from "./request.ts";
import { isActive, resolveInstance } from "./resolve.ts";

/** See `InstanceManager.exclusive`. */
export async function holdInstance<T>(
  parts: Parts,
  _ctx: OpContext,
  nameOrId: string,
  work: (held: HeldInstance) => Promise<T>,
): Promise<T> {
  const { id } = resolveInstance(parts.records, nameOrId);
  using _ = await parts.locks.acquire(id);
  const { status } = parts.records.require(id).state;
  if (status === "removing" || status === "dead") throw instanceErrors.MARKED_FOR_REMOVAL({});
  return await work({
    get record() {
      return parts.records.require(id);
    },
    dataDir: dataDir(parts, id),
    runDir: runDir(parts, id),
    update: (change) => {
      const before = parts.records.require(id);
      const after = { ...before, spec: change(before.spec) };
      using _held = isActive(before) ? parts.ledger.admit(claimOf(after)) : undefined;
      return parts.records.update(id, () => after);
    },
    applyLimits: async (ctx, resources) => {
      const { spec, state } = parts.records.require(id);
      if (state.handle !== null) await driverOf(parts, spec).update(ctx, state.handle, resources);
    },
  });
}

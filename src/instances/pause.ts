import type { OpContext } from "../base/op-context.ts";
import { Reverter } from "../base/reverter.ts";
import { instanceErrors } from "./errors.ts";
import { driverOf, type Parts } from "./parts.ts";
import { isActive, resolveInstance } from "./resolve.ts";

/** See {@link InstanceService.pause}. */
export async function pauseInstance(parts: Parts, ctx: OpContext, nameOrId: string): Promise<void> {
  const { id } = resolveInstance(parts.records, nameOrId);
  using _ = await parts.locks.acquire(id);
  const { spec, state } = parts.records.require(id);
  if (state.status === "restarting") throw instanceErrors.RESTARTING({ id });
  if (state.status === "paused") throw instanceErrors.ALREADY_PAUSED({ id });
  if (state.status !== "running" || state.handle === null) throw instanceErrors.NOT_RUNNING({ id });
  const driver = driverOf(parts, spec);
  const { handle } = state;
  await using reverter = new Reverter(ctx);
  reverter.add("thaw it", (ctx) => driver.resume(ctx, handle));
  await driver.pause(ctx, handle);
  parts.publish(parts.records.setState(id, { status: "paused" }, { durable: false }), "pause");
  reverter.commit();
}

/** See {@link InstanceService.resume}. */
export async function resumeInstance(parts: Parts, ctx: OpContext, nameOrId: string): Promise<void> {
  const { id } = resolveInstance(parts.records, nameOrId);
  using _ = await parts.locks.acquire(id);
  const record = parts.records.require(id);
  const { handle, status } = record.state;
  if (status !== "paused" || handle === null || !isActive(record)) throw instanceErrors.NOT_PAUSED({ id });
  await driverOf(parts, record.spec).resume(ctx, handle);
  parts.publish(parts.records.setState(id, { status: "running" }, { durable: false }), "unpause");
}

import type { OpContext } from "../base/op-context.ts";
import type { WaitCondition, WaitResult } from "./instance-service.ts";
import type { Parts } from "./parts.ts";
import { isActive, resolveInstance } from "./resolve.ts";

/** See {@link InstanceService.wait}: the waiter is registered when this returns, before anything else can happen. */
export function waitInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  condition: WaitCondition,
): { readonly done: Promise<WaitResult> } {
  const record = resolveInstance(parts.records, nameOrId);
  const { waits } = parts.lives.of(record.id);
  const registered = (occasion: "exited" | "removed") => {
    const done = waits.next(occasion, ctx.signal);
    // The caller may go away without ever looking at the outcome.
    done.catch(() => {});
    return { done };
  };
  switch (condition) {
    case "not-running":
      if (isActive(record)) return registered("exited");
      return { done: Promise.resolve({ exitCode: record.state.exitCode, error: "" }) };
    case "next-exit":
      return registered("exited");
    case "removed":
      return registered("removed");
  }
}

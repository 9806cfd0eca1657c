import { messageOf } from "./errors.ts";
import { cleanupContext, type OpContext } from "./op-context.ts";

type Undo = (ctx: OpContext) => Promise<void> | void;

/**
 * LIFO roll-back of an operation of several steps:
 *
 *     await using reverter = new Reverter(ctx);
 *     await mount(...);  reverter.add("unmount", (ctx) => unmount(ctx, ...));
 *     ...
 *     reverter.commit();            // success: nothing is undone
 *
 * When the scope ends without `commit`, the undo steps run in reverse under a fresh deadline. One that
 * fails is logged and does not stop the others: start-up recovery finishes what it left.
 */
export class Reverter implements AsyncDisposable {
  readonly #ctx: OpContext;
  #steps: { readonly name: string; readonly undo: Undo }[] = [];

  constructor(ctx: OpContext) {
    this.#ctx = ctx;
  }

  /** Registers how to undo what was just done. `undo` must be safe when later steps never ran. */
  add(name: string, undo: Undo): void {
    this.#steps.push({ name, undo });
  }

  /** The operation succeeded: forget every undo step. */
  commit(): void {
    this.#steps = [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const steps = this.#steps.reverse();
    this.#steps = [];
    if (steps.length === 0) return;
    const ctx = cleanupContext(this.#ctx);
    for (const { name, undo } of steps) {
      try {
        await undo(ctx);
      } catch (error) {
        ctx.log.warn({ step: name, error: messageOf(error) }, "roll-back step failed");
      }
    }
  }
}

/**
 * The walk: for each effect of an operation, the engine dies in front of it (or the effect fails), is started again, and everything
 * must be whole: what was there before works, the operation is done or not done, can be done again, and nothing is left over.
 */
import { messageOf } from "../../../src/base/errors.ts";
import { assertNothingLeft } from "../leaks.ts";
import { ownershipFaults } from "../ownership.ts";
import { containerOperations } from "./container-operations.ts";
import { imageOperations } from "./image-operations.ts";
import type { Operation } from "./operation.ts";
import { networkOperations, volumeOperations } from "./resource-operations.ts";
import { type Hit, type Inventory, World } from "./world.ts";

export const operations: readonly Operation[] = [
  ...containerOperations,
  ...networkOperations,
  ...volumeOperations,
  ...imageOperations,
];

export type Mode = "die" | "fail";

export interface Step {
  readonly operation: string;
  readonly mode: Mode;
  readonly hit: Hit;
  /** Empty when all is well. */
  readonly faults: readonly string[];
  /** The effect did not come this time: it is done in the background, or once only. */
  readonly reached: boolean;
  readonly ms: number;
}

export interface WalkOptions {
  readonly modes: readonly Mode[];
  /** Which of an operation's hits are walked. */
  readonly choose: (operation: string, mode: Mode, hits: readonly Hit[]) => readonly Hit[];
  /** Asked before each step. */
  readonly go: () => boolean;
  readonly report: (step: Step) => void;
}

/** Walks `operation` on an engine of its own. */
export async function walkOperation(operation: Operation, options: WalkOptions): Promise<readonly Step[]> {
  const steps: Step[] = [];
  let walker = await Walker.open(operation);
  try {
    const hits = await walker.enumerate();
    for (const mode of options.modes) {
      for (const hit of options.choose(operation.name, mode, hits)) {
        if (!options.go()) return steps;
        const step = await walker.step(mode, hit);
        steps.push(step);
        options.report(step);
        if (step.faults.length === 0) continue;
        // What went wrong must not be blamed on the next step.
        await walker.close().catch(() => {});
        walker = await Walker.open(operation);
      }
    }
  } finally {
    await walker.close();
  }
  return steps;
}

class Walker {
  readonly #operation: Operation;
  readonly #world: World;
  #baseline: Inventory = [];
  #closed = false;

  private constructor(operation: Operation, world: World) {
    this.#operation = operation;
    this.#world = world;
  }

  static async open(operation: Operation): Promise<Walker> {
    const walker = new Walker(operation, await World.open());
    try {
      // Once for what is only done the first time.
      await walker.#wholeTurn();
      walker.#baseline = await walker.#world.inventory();
    } catch (error) {
      await walker.#world[Symbol.asyncDispose]();
      throw error;
    }
    return walker;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#world[Symbol.asyncDispose]();
    await assertNothingLeft(this.#world.engine);
  }

  async enumerate(): Promise<readonly Hit[]> {
    const world = this.#world;
    await this.#operation.prepare(world);
    await world.arm("");
    await this.#operation.run(world);
    await world.settle();
    const hits = world.hits();
    await world.arm("");
    await this.#tidy();
    return hits;
  }

  async step(mode: Mode, hit: Hit): Promise<Step> {
    const begun = performance.now();
    const faults: string[] = [];
    let reached = true;
    try {
      reached = await this.#attempt(mode, hit, faults);
    } catch (error) {
      faults.push(messageOf(error));
    }
    const ms = Math.round(performance.now() - begun);
    return { operation: this.#operation.name, mode, hit, faults, reached, ms };
  }

  async #attempt(mode: Mode, hit: Hit, faults: string[]): Promise<boolean> {
    const world = this.#world;
    await this.#operation.prepare(world);
    const prepared = await world.inventory();
    await world.arm(`${hit.point}#${hit.number}=${mode}`);
    const refusal = await this.#operation.run(world).then(
      () => undefined,
      (error: unknown) => messageOf(error),
    );
    await world.settle();
    const reached = world.hits().some(({ point, number }) => point === hit.point && number === hit.number);
    world.disarm();
    if (mode === "die" && reached) {
      if (!(await world.engine.ended(5000))) throw new Error("the engine lives on");
      await world.engine.boot();
    } else if (!world.engine.alive) throw new Error(`the engine died: ${world.engine.log().slice(-1500)}`);
    else await world.arm("");

    const state = await this.#operation.state(world, mode);
    if (refusal === undefined && state === "before") faults.push("it was acknowledged, and has not been done");
    if (state === "before") faults.push(...(await differences(prepared, world)));
    if (refusal !== undefined && !reached) faults.push(`it was refused for no reason: ${refusal}`);
    faults.push(...(await this.#ownership(mode)), ...(await world.keeperFaults()));

    if (state === "after") {
      await this.#tidy();
      await this.#operation.prepare(world);
    }
    await this.#again(faults);
    await this.#tidy();
    faults.push(...(await differences(this.#baseline, world)));
    return reached;
  }

  /** A failure may leave what the next start takes away; what is there after a start, nobody takes away. */
  async #ownership(mode: Mode): Promise<readonly string[]> {
    const { engine } = this.#world;
    if (mode === "fail") {
      if ((await ownershipFaults(engine, 1000)).length === 0) return [];
      await engine.crash();
      await engine.boot();
    }
    return await ownershipFaults(engine, 5000);
  }

  async #again(faults: string[]): Promise<void> {
    try {
      await this.#operation.run(this.#world);
    } catch (error) {
      faults.push(`it can't be done again: ${messageOf(error)}`);
      return;
    }
    if ((await this.#operation.state(this.#world)) === "before") faults.push("done again, it had no effect");
  }

  async #wholeTurn(): Promise<void> {
    await this.#operation.prepare(this.#world);
    await this.#operation.run(this.#world);
    await this.#operation.state(this.#world);
    await this.#tidy();
  }

  async #tidy(): Promise<void> {
    await this.#world.tidy();
    await this.#operation.tidy?.(this.#world);
  }
}

async function differences(expected: Inventory, world: World): Promise<readonly string[]> {
  const found = await world.inventory();
  return [
    ...found.filter((line) => !expected.includes(line)).map((line) => `there is a ${line}`),
    ...expected.filter((line) => !found.includes(line)).map((line) => `there is no ${line}`),
  ];
}

/**
 * The walk: for each effect of an operation, the engine dies in front of it (or the effect fails), is started again, and everything
 * must be whole: what was there before works, the operation is done or not done, can be done again, and nothing is left over.
 */
import { messageOf } from "../../../src/base/errors.ts";
import { assertNothingLeft } from "../leaks.ts";
import { ownershipFaults } from "../ownership.ts";
import { containerOperations } from "./container-operations.ts";
import { imageOperations } from "./image-operations.ts";
import { machineOperations } from "./machine-operations.ts";
import type { Operation } from "./operation.ts";
import { networkOperations, volumeOperations } from "./resource-operations.ts";
import { wholeMachineOperations } from "./whole-machine-operations.ts";
import { type Hit, type Inventory, World } from "./world.ts";

export const operations: readonly Operation[] = [
  ...containerOperations,
  ...networkOperations,
  ...volumeOperations,
  ...imageOperations,
];

/** On virtual machines: minutes for each. */
export const allMachineOperations: readonly Operation[] = [...machineOperations, ...wholeMachineOperations];

/** "die-again": the engine that is started after a death dies too, in front of an effect of its recovery. */
export type Mode = "die" | "fail" | "die-again";

export interface Step {
  readonly operation: string;
  readonly mode: Mode;
  readonly hit: Hit;
  /** Of the recovery, where the engine dies again. */
  readonly again?: Hit;
  /** Empty when all is well. */
  readonly faults: readonly string[];
  /** The effect did not come this time: it is done in the background, or once only. */
  readonly reached: boolean;
  readonly ms: number;
}

export interface WalkOptions {
  readonly modes: readonly Mode[];
  /** Which of an operation's hits are walked. */
  readonly choose: (hits: readonly Hit[], mode: Mode) => readonly Hit[];
  /** In front of which effects of a recovery the engine dies again. */
  readonly chooseAgain: (hits: readonly Hit[]) => readonly Hit[];
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
      for (const hit of options.choose(hits, mode)) {
        if (!options.go()) return steps;
        const seconds = mode === "die-again" ? options.chooseAgain(await walker.enumerateRecovery(hit)) : [undefined];
        for (const again of seconds) {
          if (!options.go()) return steps;
          const step = await walker.step(mode, hit, again);
          steps.push(step);
          options.report(step);
          if (step.faults.length === 0) continue;
          // What went wrong must not be blamed on the next step.
          await walker.close().catch(() => {});
          walker = await Walker.open(operation);
        }
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

  /** The effects of the start after a death at `hit`; none when that is not reached. */
  async enumerateRecovery(hit: Hit): Promise<readonly Hit[]> {
    const world = this.#world;
    await this.#operation.prepare(world);
    const { reached } = await this.#struck("die", hit);
    let hits: readonly Hit[] = [];
    if (reached) {
      world.armNextStart("");
      await world.engine.boot();
      await world.settle();
      hits = world.hits();
    }
    world.disarm();
    await world.arm("");
    await this.#tidy();
    return hits;
  }

  async step(mode: Mode, hit: Hit, again?: Hit): Promise<Step> {
    const begun = performance.now();
    const faults: string[] = [];
    let reached = true;
    try {
      reached = await this.#attempt(mode, hit, again, faults);
    } catch (error) {
      faults.push(messageOf(error));
    }
    const ms = Math.round(performance.now() - begun);
    const step = { operation: this.#operation.name, mode, hit, faults, reached, ms };
    return again === undefined ? step : { ...step, again };
  }

  async #attempt(mode: Mode, hit: Hit, again: Hit | undefined, faults: string[]): Promise<boolean> {
    const world = this.#world;
    const action = mode === "fail" ? "fail" : "die";
    await this.#operation.prepare(world);
    const prepared = await world.inventory();
    const { refusal, reached: struck } = await this.#struck(action, hit);
    let reached = struck;
    if (again !== undefined && struck) reached = await this.#dieRecovering(again);
    world.disarm();
    if (!world.engine.alive) await world.engine.boot();
    else await world.arm("");

    const state = await this.#operation.state(world, action);
    if (refusal === undefined && state === "before") faults.push("it was acknowledged, and has not been done");
    if (state === "before") faults.push(...(await differences(prepared, world)));
    if (refusal !== undefined && !struck) faults.push(`it was refused for no reason: ${refusal}`);
    faults.push(...(await this.#ownership(action)), ...(await world.keeperFaults()));

    if (state === "after") {
      await this.#tidy();
      await this.#operation.prepare(world);
    }
    await this.#again(faults);
    await this.#tidy();
    faults.push(...(await differences(this.#baseline, world)));
    return reached;
  }

  /** Runs the operation with `hit` armed; the engine has ended when it was to die there. */
  async #struck(action: "die" | "fail", hit: Hit): Promise<{ refusal: string | undefined; reached: boolean }> {
    const world = this.#world;
    await world.arm(`${hit.point}#${hit.number}=${action}`);
    const refusal = await this.#operation.run(world).then(
      () => undefined,
      (error: unknown) => messageOf(error),
    );
    await world.settle();
    const reached = isAmong(hit, world.hits());
    if (action === "die" && reached) {
      if (!(await world.engine.ended(5000))) throw new Error("the engine lives on");
    } else if (!world.engine.alive) throw new Error(`the engine died: ${world.engine.log().slice(-1500)}`);
    return { refusal, reached };
  }

  /** Starts the engine, which dies in front of `hit`; false when it does not come there. */
  async #dieRecovering(hit: Hit): Promise<boolean> {
    const world = this.#world;
    world.armNextStart(`${hit.point}#${hit.number}=die`);
    await world.engine.boot().catch((error: unknown) => {
      if (world.engine.alive || !isAmong(hit, world.hits())) throw error;
    });
    await world.settle();
    if (!isAmong(hit, world.hits())) return false;
    if (!(await world.engine.ended(5000))) throw new Error("the engine lives on");
    return true;
  }

  /** A failure may leave what the next start takes away; what is there after a start, nobody takes away. */
  async #ownership(mode: "die" | "fail"): Promise<readonly string[]> {
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

function isAmong(hit: Hit, hits: readonly Hit[]): boolean {
  return hits.some(({ point, number }) => point === hit.point && number === hit.number);
}

async function differences(expected: Inventory, world: World): Promise<readonly string[]> {
  const found = await world.inventory();
  return [
    ...found.filter((line) => !expected.includes(line)).map((line) => `there is a ${line}`),
    ...expected.filter((line) => !found.includes(line)).map((line) => `there is no ${line}`),
  ];
}

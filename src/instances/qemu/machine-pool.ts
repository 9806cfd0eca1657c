/**
 * Machines that wait, restored and paused, so that a start has only to tell one who it is. What waits is of templates that are in use; it
 * is made while nothing else begins, and is the first to go when something needs its memory.
 *
 * INVARIANTS
 *  - A waiting machine is in the ledger from before its making until it is given to a start, or given up.
 *  - Who takes one owns it: the pool has forgotten it.
 *  - Nothing of the pool is stored: what is to wait after an engine's start is told by when templates were used. A killed engine's waiting machines belong to no instance, and are collected as such.
 */
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../base/errors.ts";
import { newId } from "../../base/ids.ts";
import type { Logger } from "../../base/logger.ts";
import { cleanupContext, type OpContext } from "../../base/op-context.ts";
import type { Templates } from "../../guest/templates.ts";
import type { Claim } from "../../ledger/account.ts";
import { nothing } from "../../ledger/quantities.ts";
import { machineMemory, memoryOverhead } from "./machine-size.ts";
import { idleMs, planPool, type PoolPlan } from "./pool-plan.ts";
import type { TemplateRequest } from "./template-maker.ts";
import type { Keepers, WaitingMachine } from "./waiting-machine.ts";

/** What the engine says of its pool. */
export interface PoolSettings {
  /** Machines that wait of each template in use; 0: there is no pool. */
  readonly size: number;
  /** Bytes of memory that the ledger has left. */
  readonly left: () => number;
  /** Whether instances are being started. */
  readonly isBusy: () => boolean;
}

export interface MachinePoolOptions {
  readonly settings: PoolSettings;
  readonly keepers: Pick<Keepers, "make" | "isAlive" | "end">;
  readonly templates: Pick<Templates, "peek">;
  readonly log: Logger;
}

interface Pooled {
  /** As the last machine that was started from it. */
  readonly like: TemplateRequest;
  readonly usedMs: number;
  readonly waiting: readonly WaitingMachine[];
  readonly failures: number;
}

/** How long nothing has to have begun before one is made. */
const quietMs = 250;
const lookMs = 50;
/** What changes without a word: templates removed, memory given back, a waiting machine that was killed. */
const reviewMs = 5000;
const maxFailures = 3;

export class MachinePool {
  readonly #options: MachinePoolOptions;
  readonly #pooled = new Map<string, Pooled>();
  readonly #closing = new AbortController();
  readonly #ending = new Set<Promise<void>>();
  #making: { readonly claim: Claim; readonly abort: AbortController } | undefined;
  #working: Promise<void> | undefined;
  #reviews: NodeJS.Timeout | undefined;
  #touchedMs = 0;

  constructor(options: MachinePoolOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#options.settings.size;
  }

  /** Machines that wait now. */
  get waiting(): number {
    return this.#all().length;
  }

  /** What the ledger counts: each as the instance that it is to be. */
  claims(): readonly Claim[] {
    const waiting = [...this.#pooled].flatMap(([key, { like, waiting }]) =>
      waiting.map(({ keeper }) => claimOf(keeper.id, key, like)),
    );
    return this.#making === undefined ? waiting : [...waiting, this.#making.claim];
  }

  /** A machine of the template, now the caller's; undefined when none waits. */
  take(key: string): WaitingMachine | undefined {
    this.#touchedMs = performance.now();
    this.#dropDead();
    const pooled = this.#pooled.get(key);
    const [taken, ...waiting] = pooled?.waiting ?? [];
    if (pooled !== undefined) this.#pooled.set(key, { ...pooled, waiting });
    return taken;
  }

  /**
   * A machine was started of this template, or of the image that it is being made of, just now or so long ago: others of its kind are to
   * wait.
   */
  used(like: TemplateRequest, agoMs = 0): void {
    if (this.size === 0 || this.#closing.signal.aborted) return;
    this.#touchedMs = performance.now();
    const known = this.#pooled.get(like.key);
    const usedMs = Math.max(this.#touchedMs - agoMs, known?.usedMs ?? -Infinity);
    this.#pooled.set(like.key, { waiting: [], failures: 0, ...known, like, usedMs });
    this.#reviews ??= setInterval(() => this.review(), reviewMs).unref();
    this.review();
  }

  /**
   * Gives up as many as have these bytes of memory, at once: first the one that is being made, then those of the templates used least
   * recently. False, and none, when all of them have not.
   */
  giveUp(bytes: number): boolean {
    let short = bytes;
    if (this.claims().reduce((sum, { request }) => sum + request.memory, 0) < short) return false;
    if (this.#making !== undefined) {
      short -= this.#making.claim.request.memory;
      this.#making.abort.abort(new Error("its memory is wanted"));
      this.#making = undefined;
    }
    const byUse = [...this.#pooled].toSorted(([, a], [, b]) => a.usedMs - b.usedMs);
    for (const [key, { like, waiting }] of byUse) {
      const count = Math.min(waiting.length, Math.max(0, Math.ceil(short / memoryOf(like))));
      this.#giveUp(key, count);
      short -= count * memoryOf(like);
    }
    return true;
  }

  /** Resolves when none is being made or ended. */
  async settled(): Promise<void> {
    while (this.#working !== undefined || this.#ending.size > 0) await Promise.all([this.#working, ...this.#ending]);
  }

  /** Ends all that wait. */
  async close(): Promise<void> {
    clearInterval(this.#reviews);
    this.#closing.abort(new Error("the engine is closing"));
    await this.#working;
    for (const [key, { waiting }] of this.#pooled) this.#giveUp(key, waiting.length);
    await this.settled();
  }

  /** Looks whether there is something to do: what is there, or is left, may have changed. */
  review(): void {
    if (this.#closing.signal.aborted) return;
    this.#dropDead();
    this.#working ??= this.#work()
      .catch((error: unknown) =>
        this.#options.log.error({ error: messageOf(error) }, "the pool of machines has failed"),
      )
      .finally(() => {
        this.#working = undefined;
      });
  }

  async #work(): Promise<void> {
    for (;;) {
      const { giveUp, fill } = this.#plan();
      if (fill === undefined && giveUp.size === 0) return;
      await this.#quiet();
      if (this.#closing.signal.aborted) return;
      // What was to be made may be out of place by now.
      const plan = this.#plan();
      for (const [key, count] of plan.giveUp) this.#giveUp(key, count);
      if (plan.fill !== undefined) await this.#make(plan.fill);
    }
  }

  #plan(): PoolPlan {
    const { settings, templates } = this.#options;
    const nowMs = performance.now();
    for (const [key, { usedMs, waiting }] of this.#pooled) {
      if (waiting.length === 0 && nowMs - usedMs >= idleMs) this.#pooled.delete(key);
    }
    return planPool(
      [...this.#pooled].map(([key, { like, usedMs, waiting, failures }]) => ({
        key,
        usedMs,
        memory: memoryOf(like),
        waiting: waiting.length,
        usable: failures < maxFailures && templates.peek(key) !== undefined,
      })),
      { size: settings.size, left: settings.left(), nowMs },
    );
  }

  async #quiet(): Promise<void> {
    const { isBusy } = this.#options.settings;
    while (!this.#closing.signal.aborted && (isBusy() || performance.now() - this.#touchedMs < quietMs)) {
      if (isBusy()) this.#touchedMs = performance.now();
      await delay(lookMs);
    }
  }

  async #make(key: string): Promise<void> {
    const { keepers, templates, log } = this.#options;
    const pooled = this.#pooled.get(key);
    const template = templates.peek(key);
    if (pooled === undefined || template === undefined) return;
    const abort = new AbortController();
    const ctx: OpContext = { signal: AbortSignal.any([this.#closing.signal, abort.signal]), log };
    const started = performance.now();
    this.#making = { claim: claimOf(newId(), key, pooled.like), abort };
    try {
      const made = await keepers.make(ctx, pooled.like, template);
      if (ctx.signal.aborted) return this.#end(made);
      this.#change(key, ({ waiting }) => ({ waiting: [...waiting, made], failures: 0 }));
      log.debug({ template: key, ms: Math.round(performance.now() - started) }, "a machine waits");
    } catch (error) {
      if (ctx.signal.aborted) return;
      this.#change(key, ({ failures }) => ({ failures: failures + 1 }));
      log.warn({ template: key, error: messageOf(error) }, "a machine can't be made to wait: they are restored");
    } finally {
      this.#making = undefined;
    }
  }

  #change(key: string, change: (pooled: Pooled) => Partial<Pooled>): void {
    const pooled = this.#pooled.get(key);
    if (pooled !== undefined) this.#pooled.set(key, { ...pooled, ...change(pooled) });
  }

  #all(): readonly WaitingMachine[] {
    return [...this.#pooled.values()].flatMap(({ waiting }) => waiting);
  }

  /** Those whose QEMU or keeper was killed. */
  #dropDead(): void {
    const { keepers } = this.#options;
    for (const [key, { waiting }] of this.#pooled) {
      const dead = waiting.filter((one) => !keepers.isAlive(one));
      if (dead.length === 0) continue;
      this.#change(key, () => ({ waiting: waiting.filter((one) => !dead.includes(one)) }));
      for (const one of dead) this.#end(one);
    }
  }

  #giveUp(key: string, count: number): void {
    const waiting = this.#pooled.get(key)?.waiting ?? [];
    this.#change(key, () => ({ waiting: waiting.slice(count) }));
    for (const one of waiting.slice(0, count)) this.#end(one);
  }

  #end(one: WaitingMachine): void {
    const { keepers, log } = this.#options;
    const ending = keepers
      .end(cleanupContext({ signal: this.#closing.signal, log }), one)
      .catch((error: unknown) => {
        log.warn(
          { id: one.keeper.id, error: messageOf(error) },
          "a waiting machine could not be removed: the next start does",
        );
      })
      .finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }
}

function memoryOf({ request }: TemplateRequest): number {
  return machineMemory(request.spec.resources) + memoryOverhead;
}

function claimOf(id: string, key: string, like: TemplateRequest): Claim {
  return {
    owner: { kind: "pool", id, name: `a machine of template ${key.slice(0, 12)}` },
    request: { ...nothing, memory: memoryOf(like) },
    unbounded: [],
  };
}

/** One client of the soak: does one random thing after another, notes in the model what was answered, and complains. */
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "../../src/base/errors.ts";
import { type CallOptions, type EngineClient, readAll, type Upgraded } from "../../src/client/engine-client.ts";
import { jsonValues } from "../../src/client/json-lines.ts";
import type { EngineProcess } from "../support/engine-process.ts";
import { type Condition, type Conditions, faultOf, type Refusal, type SeenError } from "./conditions.ts";
import type { EventWitness } from "./event-witness.ts";
import type { Facts } from "./facts.ts";
import type { SeededRandom } from "./seeded-random.ts";

/** What all clients share. */
export interface World {
  readonly engine: EngineProcess;
  readonly facts: Facts;
  readonly conditions: Conditions;
  /** The image that everything is made of; a container that is never touched keeps it from being pruned. */
  readonly image: string;
  /** "127.0.0.1:PORT". */
  readonly registry: string;
  /** Of the engine that runs now. */
  witness: EventWitness | undefined;
}

/** How a container was made: what may be expected of it. */
export interface ContainerSpec {
  readonly port: number | undefined;
  readonly network: boolean;
  readonly volume: boolean;
  readonly restart: "no" | "always" | "on-failure" | "unless-stopped";
  readonly stopSignal: "SIGTERM" | "SIGKILL";
  readonly health: boolean;
}

export interface Step {
  readonly name: string;
  readonly work: (client: SoakClient) => Promise<void>;
}

/** Longer than anything takes here, also beside a runtime that hangs. */
const hangsAfterMs = 90_000;
const keptSteps = 3000;
/** Lines of the history of what is complained about. */
const keptHistory = 40;

export class SoakClient {
  readonly name: string;
  readonly random: SeededRandom;
  readonly world: World;
  /** Host ports of its own. */
  readonly ports: readonly number[];
  readonly specs = new Map<string, ContainerSpec>();
  /** `--rm` containers that may still be there, by name. */
  readonly passing = new Set<string>();
  /** Containers that may still be on a second network, since nobody said that they were taken off. */
  readonly onSecondNetwork = new Set<string>();
  /** Containers that were there when the disk was full: their logs have holes. */
  readonly torn = new Set<string>();
  /** Answers that no engine should give. */
  readonly complaints: string[] = [];
  /** The last steps, for a report. */
  readonly trace: string[] = [];
  /** How often each step was done to its end, and how often not. */
  readonly counts = new Map<string, { done: number; ended: number }>();
  #engine: EngineClient | undefined;
  #began = 0;
  #serial = 0;
  /** Of the calls of this step. */
  #limits: AbortSignal[] = [];

  constructor(options: { name: string; random: SeededRandom; world: World; ports: readonly number[] }) {
    this.name = options.name;
    this.random = options.random;
    this.world = options.world;
    this.ports = options.ports;
  }

  /** Containers that may change by themselves, since something outside of the engine did something to them: until when. */
  readonly #unsteady = new Map<string, { readonly until: number; readonly mayStart: boolean }>();

  get facts(): Facts {
    return this.world.facts;
  }

  /** From now on for a while it may end; if it `mayStart` (with a policy, say), it may run, or be about to, or have given up. */
  unsettle(name: string, mayStart = this.hasPolicy(name)): void {
    const starts = mayStart || (this.isUnsteady(name) && this.#unsteady.get(name)?.mayStart === true);
    this.#unsteady.set(name, { until: performance.now() + 30_000, mayStart: starts });
    this.facts.doubt(`container ${name}`, ...(starts ? ["running", "restarting"] : []), "stopped:*");
  }

  hasPolicy(name: string): boolean {
    return this.specs.get(name)?.restart !== "no";
  }

  /** Whether it may end, or be started by its policy, at any moment. */
  isUnsteady(name: string): boolean {
    return (this.#unsteady.get(name)?.until ?? 0) > performance.now();
  }

  /** The engine starts anew: it starts what a policy keeps running. */
  doubtPolicies(): void {
    for (const name of this.specs.keys()) {
      const states = this.facts.possible(`container ${name}`);
      if (this.hasPolicy(name) && (states.size > 1 || !states.has("absent"))) this.unsettle(name);
    }
  }

  /** The disk is full: the logs of all containers that there are have holes from now on. */
  tear(): void {
    for (const name of this.specs.keys()) this.torn.add(name);
  }

  /** A name that this client has not used before. */
  fresh(word: string): string {
    return `${this.name}-${word}${this.#serial++}`;
  }

  /** Does steps until it is told to end, or the engine is gone. */
  async run(choose: (client: SoakClient) => Step, isOver: () => boolean): Promise<void> {
    using engine = this.world.engine.client();
    this.#engine = engine;
    while (!isOver()) await this.#step(choose(this));
  }

  /** Runs `work` with a connection of its own, as one step. */
  async once(name: string, work: (client: SoakClient) => Promise<void>): Promise<void> {
    using engine = this.world.engine.client();
    this.#engine = engine;
    await this.#step({ name, work });
  }

  async #step({ name, work }: Step): Promise<void> {
    const from = performance.now();
    this.#began = from;
    this.#limits = [];
    const before = this.complaints.length;
    this.note(name);
    const count = this.counts.get(name) ?? { done: 0, ended: 0 };
    this.counts.set(name, count);
    if (await this.attempt([], () => work(this))) count.done++;
    else {
      count.ended++;
      // Not a tight loop of refusals while something is wrong for long.
      await sleep(50);
    }
    if (this.complaints.length === before) this.note(`${name} ended after ${Math.round(performance.now() - from)} ms`);
  }

  /** Does something that may be refused with these, or fail for what is wrong just now. True when it did not. */
  async attempt(expected: readonly Refusal[], work: () => Promise<unknown>): Promise<boolean> {
    const from = performance.now();
    try {
      await work();
      return true;
    } catch (error) {
      const seen = this.#limits.some(({ aborted }) => aborted) ? hangs : asSeen(error);
      if (seen === undefined) throw error;
      // Told a moment before the signal that ends the engine, so that no answer overtakes it.
      const fault = faultOf(seen, this.world.conditions.since(Math.min(from, this.#began)), expected);
      this.note(`  ${seen.status} ${seen.message}`);
      if (fault !== undefined) this.#addComplaint(fault);
      return false;
    }
  }

  /** Something is not as it should be; nothing when what is wrong with the world explains that. */
  complain(text: string, excuses: readonly Condition[] = []): void {
    const during = this.world.conditions.since(this.#began);
    const excused = ["engine down" as const, ...excuses].some((condition) => during.has(condition));
    this.note(`  ${excused ? "excused" : "COMPLAINT"}: ${text}`);
    if (!excused) this.#addComplaint(text);
  }

  #addComplaint(text: string): void {
    const [subject] = /soak\d+-[a-z]+/.exec(text) ?? [];
    const latest = this.trace.slice(-16);
    const history = this.trace.slice(0, -16).filter((line) => subject !== undefined && line.includes(subject));
    const lines = [text, ...history.slice(-keptHistory), "...", ...latest];
    this.complaints.push(`${this.name}: ${lines.join("\n    ")}`);
  }

  note(text: string): void {
    this.trace.push(`${new Date().toISOString().slice(11, 23)} ${text}`);
    if (this.trace.length > keptSteps) this.trace.shift();
  }

  /** Does what makes `key` one of `states`; until it is acknowledged it can be them, what it was, or `between`. */
  async become<T>(
    key: string,
    states: readonly string[],
    work: () => Promise<T>,
    between: readonly string[] = [],
  ): Promise<T> {
    this.facts.doubt(key, ...states, ...between);
    const result = await work();
    this.facts.know(key, ...states);
    return result;
  }

  /** Calls and reads JSON. */
  async call<T = unknown>(method: string, path: string, options: CallOptions = {}): Promise<T> {
    const text = await this.text(method, path, options);
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }

  async text(method: string, path: string, options: CallOptions = {}): Promise<string> {
    return await readAll(await this.stream(method, path, options));
  }

  async stream(method: string, path: string, options: CallOptions = {}): Promise<Readable> {
    return (await this.#connected().stream(method, path, this.#limited(method, path, options))).body;
  }

  async upgrade(method: string, path: string, options: CallOptions = {}): Promise<Upgraded> {
    return await this.#connected().upgrade(method, path, this.#limited(method, path, options));
  }

  /** Calls and reads a stream of messages; an error among them is thrown. Its text. */
  async progress(method: string, path: string, options: CallOptions = {}): Promise<string> {
    let text = "";
    for await (const message of jsonValues(await this.stream(method, path, options))) {
      const { error, stream, status } = message as { error?: string; stream?: string; status?: string };
      if (error !== undefined) throw new BerthError("IN_STREAM", 500, error);
      text += stream ?? `${status ?? ""}\n`;
    }
    return text;
  }

  expectEvent(event: string): void {
    this.world.witness?.expect(event);
  }

  #connected(): EngineClient {
    if (this.#engine === undefined) throw new Error("no engine to call");
    return this.#engine;
  }

  #limited(method: string, path: string, options: CallOptions): CallOptions {
    this.note(`  ${method} ${path}`);
    const limit = AbortSignal.timeout(hangsAfterMs);
    this.#limits.push(limit);
    return { ...options, signal: options.signal === undefined ? limit : AbortSignal.any([options.signal, limit]) };
  }
}

const hangs: SeenError = { status: 504, code: "HANGS", message: `no answer within ${hangsAfterMs / 1000} s` };

/** An answer or the lack of one; undefined for a bug of ours. */
function asSeen(error: unknown): SeenError | undefined {
  if (error instanceof BerthError) return error;
  if (!(error instanceof Error)) return undefined;
  const code = "code" in error ? String(error.code) : "";
  if (["ECONNRESET", "EPIPE", "ERR_STREAM_PREMATURE_CLOSE"].includes(code)) {
    return { status: 503, code: "ENGINE_UNREACHABLE", message: error.message };
  }
  return undefined;
}

/** Rounds of the walk: some seconds of work under some faults, mostly a kill at the end, then everything is compared. */
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../../src/base/errors.ts";
import { ownershipFaults } from "../support/ownership.ts";
import { EventWitness } from "./event-witness.ts";
import { type FailingPrograms, faultyVerbs, programFaults } from "./failing-programs.ts";
import type { FlakyRegistry } from "./flaky-registry.ts";
import type { Keeper } from "./keeper.ts";
import type { SeededRandom } from "./seeded-random.ts";
import type { SmallDisk } from "./small-disk.ts";
import type { SoakClient, World } from "./soak-client.ts";
import { chooseStep } from "./steps/choose.ts";
import { verify } from "./steps/verify.ts";
import { growthFault, type Vitals, vitalsOf } from "./vitals.ts";

/** What can be wrong around the engine, besides that it is killed. */
export const allTroubles = ["runtime", "registry", "disk"] as const;
export type Trouble = (typeof allTroubles)[number];

export interface RoundsOptions {
  readonly troubles: readonly Trouble[];
  readonly world: World;
  readonly random: SeededRandom;
  readonly clients: readonly SoakClient[];
  readonly disk: SmallDisk;
  readonly programs: FailingPrograms;
  readonly registry: FlakyRegistry;
  readonly keeper: Keeper;
  readonly log: (line: string) => void;
}

/** What is done to the engine in a round, drawn before it begins. */
interface Plan {
  readonly milliseconds: number;
  readonly runtime: boolean;
  readonly registry: boolean;
  readonly disk: boolean;
  readonly end: "kill" | "stop" | "live on";
  /** And killed again while it starts, after so long. */
  readonly killInBoot: number | undefined;
}

const progressEveryMs = 30_000;
/** An orderly end takes at most this; it waits 10 s for calls that go on. */
const stopLimitMs = 30_000;

export class Rounds {
  readonly faults: string[] = [];
  readonly #o: RoundsOptions;
  readonly #began = performance.now();
  #rounds = 0;
  #kills = 0;
  #events = 0;
  #plan = "";
  /** A stretch of rounds without a kill, so that growth can be seen. */
  #longLife = 0;
  #bornAt = performance.now();
  #life: Vitals[] = [];
  readonly #lives: Vitals[][] = [];

  constructor(options: RoundsOptions) {
    this.#o = options;
  }

  /** Goes on until the time is over, something is found, or it is told to end. */
  async walk(durationMs: number, signal: AbortSignal): Promise<void> {
    let nextReport = progressEveryMs;
    await this.#listen();
    while (performance.now() - this.#began < durationMs && this.faults.length === 0 && !signal.aborted) {
      const plan = this.#draw();
      this.#plan = describe(plan);
      try {
        await this.#round(plan);
      } catch (error) {
        this.faults.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
      }
      this.#rounds++;
      if (performance.now() - this.#began < nextReport) continue;
      nextReport = performance.now() - this.#began + progressEveryMs;
      this.#o.log(this.#progress());
    }
    this.#endLife();
    this.#o.world.witness?.[Symbol.dispose]();
    this.#o.world.witness = undefined;
  }

  figures(): { readonly rounds: number; readonly kills: number; readonly steps: number } {
    let steps = 0;
    for (const { counts } of this.#o.clients) for (const { done, ended } of counts.values()) steps += done + ended;
    return { rounds: this.#rounds, kills: this.#kills, steps };
  }

  /** The last steps of everybody. */
  trace(): readonly string[] {
    return [
      `the round was: ${this.#plan}`,
      ...this.#o.clients.flatMap(({ name, trace }) => trace.slice(-120).map((line) => `${name} ${line}`)),
      "warnings of the engine:",
      ...(this.#o.world.engine.log().match(/^\{"level":[45]0.*$/gm) ?? []).slice(-15),
    ];
  }

  summary(): string {
    const totals = new Map<string, { done: number; ended: number }>();
    for (const { counts } of this.#o.clients) {
      for (const [name, { done, ended }] of counts) {
        const total = totals.get(name) ?? { done: 0, ended: 0 };
        totals.set(name, { done: total.done + done, ended: total.ended + ended });
      }
    }
    const lives = this.#lives.filter((life) => life.length > 1).toSorted((a, b) => b.length - a.length);
    return [
      `${this.#rounds} rounds, ${this.#kills} kills, ${this.#events} events`,
      ...[...totals].map(([name, { done, ended }]) => `  ${name}: ${done} done, ${ended} cut off or refused`),
      "idle engine at the beginning and the end of its longest lives:",
      ...lives.slice(0, 3).map((life) => `  ${text(life[0])} -> ${text(life.at(-1))}`),
      `first start: ${text(this.#lives[0]?.[0])}; last start: ${text(this.#lives.at(-1)?.[0])}`,
    ].join("\n");
  }

  #draw(): Plan {
    const { random, troubles } = this.#o;
    // Drawn whether it is wanted or not: the rest of the walk stays the same.
    const draw = (trouble: Trouble, chance: number) => random.chance(chance) && troubles.includes(trouble);
    if (this.#longLife > 0) this.#longLife--;
    else if (random.chance(0.08)) this.#longLife = 8;
    return {
      milliseconds: random.pick([random.between(20, 1500), random.between(500, 6000)]),
      runtime: draw("runtime", 0.3),
      registry: draw("registry", 0.3),
      disk: draw("disk", 0.15),
      end:
        this.#longLife > 0
          ? "live on"
          : random.weighted([[6, "kill"] as const, [1.5, "stop"] as const, [2.5, "live on"] as const]),
      killInBoot: random.chance(0.15) ? random.between(30, 900) : undefined,
    };
  }

  async #round(plan: Plan): Promise<void> {
    const { clients, programs, registry, disk, random, world } = this.#o;
    let isOver = false;
    const over = new AbortController();
    const windows = new DisposableStack();
    const isFound = () => clients.some(({ complaints }) => complaints.length > 0);
    const working = clients.map((client) => client.run(chooseStep, () => isOver || isFound()));
    const troubles = [
      plan.runtime ? this.#breakPrograms(windows, over.signal) : undefined,
      plan.registry ? this.#breakRegistry(windows, over.signal) : undefined,
      plan.disk ? this.#fillDisk(windows, plan.milliseconds, over.signal) : undefined,
    ];
    await sleep(plan.milliseconds);
    isOver = true;
    if (plan.end !== "live on") {
      windows.use(world.conditions.begin("engine down"));
      await this.#end(plan.end);
    }
    over.abort();
    await Promise.all([...working, ...troubles]);
    programs.disarm();
    await registry.become("good");
    const freedAfterBoot = random.chance(0.5);
    if (!freedAfterBoot) disk.free();
    if (plan.end !== "live on") await this.#boot(plan.killInBoot);
    disk.free();
    windows.dispose();
    await this.#compare();
  }

  /** Everything against the model; what is found is in `faults`. */
  async #compare(): Promise<void> {
    const { clients, keeper, world } = this.#o;
    const witness = world.witness;
    if (witness !== undefined) this.faults.push(...(await witness.missing()));
    await Promise.all(clients.map((client) => client.once("verify", verify)));
    this.faults.push(...(await keeper.faults()), ...(await ownershipFaults(world.engine)));
    for (const client of clients) this.faults.push(...client.complaints.splice(0));
    this.#life.push({
      atMinutes: (performance.now() - this.#began) / 60_000,
      ageSeconds: (performance.now() - this.#bornAt) / 1000,
      ...vitalsOf(world.engine.pid),
    });
    const bugs = world.engine.log().match(/^.*(a bug|recovery could not do this|on garbage collection).*$/gm);
    if (bugs !== null) this.faults.push(...bugs.slice(0, 3).map((line) => `in the engine's log: ${line}`));
  }

  async #end(how: "kill" | "stop"): Promise<void> {
    const { engine, witness } = this.#o.world;
    this.#kills++;
    const began = performance.now();
    if (how === "kill") await engine.crash();
    else {
      const late = AbortSignal.timeout(stopLimitMs);
      const stopped = engine.stop().then(() => true);
      const ended = await Promise.race([stopped, sleep(stopLimitMs, false)]);
      if (!ended || late.aborted) {
        this.faults.push(`the engine did not end within ${stopLimitMs / 1000} s of SIGTERM`);
        await engine.crash();
      }
    }
    if (witness !== undefined) {
      this.faults.push(...(await witness.missing(began)));
      this.#events += witness.count;
      witness[Symbol.dispose]();
      this.#o.world.witness = undefined;
    }
    this.#endLife();
  }

  #endLife(): void {
    const fault = growthFault(this.#life);
    if (fault !== undefined) this.faults.push(fault);
    if (this.#life.length > 0) this.#lives.push(this.#life);
    this.#life = [];
  }

  async #boot(killAfter: number | undefined): Promise<void> {
    const { world, clients } = this.#o;
    // What a policy keeps running is started again, in its time.
    for (const client of clients) client.doubtPolicies();
    if (killAfter !== undefined) {
      const booting = world.engine.boot().then(
        () => undefined,
        (error: unknown) => messageOf(error),
      );
      await sleep(killAfter);
      await world.engine.crash();
      await booting;
      this.#kills++;
    }
    await world.engine.boot();
    this.#bornAt = performance.now();
    await this.#listen();
  }

  async #listen(): Promise<void> {
    this.#o.world.witness = await EventWitness.start(this.#o.world.engine.client());
  }

  async #breakPrograms(windows: DisposableStack, signal: AbortSignal): Promise<void> {
    const { random, programs, world } = this.#o;
    windows.use(world.conditions.begin("runtime fails"));
    while (!signal.aborted) {
      programs.arm(random.pick(faultyVerbs), random.pick(programFaults));
      await pause(random.between(100, 800), signal);
    }
  }

  async #breakRegistry(windows: DisposableStack, signal: AbortSignal): Promise<void> {
    const { random, registry, world } = this.#o;
    windows.use(world.conditions.begin("registry fails"));
    while (!signal.aborted) {
      await registry.become(random.pick(["dead", "cut", "500", "good"]));
      await pause(random.between(200, 1500), signal);
    }
  }

  async #fillDisk(windows: DisposableStack, milliseconds: number, signal: AbortSignal): Promise<void> {
    const { random, disk, world, clients, keeper } = this.#o;
    await pause(random.between(0, milliseconds), signal);
    if (signal.aborted) return;
    windows.use(world.conditions.begin("disk full"));
    keeper.torn = true;
    for (const client of clients) client.tear();
    while (!signal.aborted) {
      disk.fill(random.pick([0, 0, 64, 1024, 3000]));
      await pause(random.between(300, 2000), signal);
      if (random.chance(0.3)) disk.free();
    }
  }

  #progress(): string {
    const { kills, rounds, steps } = this.figures();
    const minutes = ((performance.now() - this.#began) / 60_000).toFixed(1);
    return `${minutes} min: ${rounds} rounds, ${kills} kills, ${steps} steps; disk ${this.#o.disk.usedMiB().toFixed(0)} MiB; ${text(this.#life.at(-1))}`;
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => {}); // The round is over.
}

function describe({ milliseconds, runtime, registry, disk, end, killInBoot }: Plan): string {
  const faults = [runtime ? "runtime fails" : "", registry ? "registry fails" : "", disk ? "disk full" : ""].filter(
    Boolean,
  );
  const boot = killInBoot === undefined || end === "live on" ? "" : `, killed ${killInBoot} ms into its start`;
  return `${milliseconds} ms${faults.length > 0 ? `, ${faults.join(", ")}` : ""}, then ${end}${boot}`;
}

function text(vitals: Vitals | undefined): string {
  if (vitals === undefined) return "nothing";
  const { ageSeconds, rssMiB, fds, threads } = vitals;
  return `${rssMiB} MiB, ${fds} fds, ${threads} threads after ${Math.round(ageSeconds)} s`;
}

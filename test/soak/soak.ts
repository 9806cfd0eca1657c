/**
 * The random walk: several clients use an engine in every way at once, while it is killed again and again, its runtimes fail,
 * its disk fills up and its registry goes away. After every round everything is compared with the model of what was answered.
 */
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { ownershipFaults } from "../support/ownership.ts";
import { Conditions } from "./conditions.ts";
import { FailingPrograms } from "./failing-programs.ts";
import { Facts } from "./facts.ts";
import { FlakyRegistry } from "./flaky-registry.ts";
import { Keeper } from "./keeper.ts";
import { Rounds, type Trouble } from "./rounds.ts";
import { SeededRandom } from "./seeded-random.ts";
import { SmallDisk } from "./small-disk.ts";
import { SoakClient, type World } from "./soak-client.ts";
import { removeEverything } from "./steps/remove-everything.ts";
import { markLabel } from "./steps/look.ts";
import { sweep } from "./sweep.ts";

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly clients: number;
  readonly troubles: readonly Trouble[];
  /** Leave the engine's directory and its disk for looking at when something was found. */
  readonly keep: boolean;
  /** Ends the walk early, with everything cleaned up. */
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
}

export interface SoakResult {
  /** What no engine should do; empty when all is well. */
  readonly faults: readonly string[];
  readonly rounds: number;
  readonly kills: number;
  readonly steps: number;
}

const image = "berth-soak:1";
const diskMiB = 400;

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { log, signal } = options;
  const random = new SeededRandom(options.seed);
  await using stack = new AsyncDisposableStack();
  const disk = stack.use(await SmallDisk.make(diskMiB));
  const directory = mkdtempSync(join(realpathSync(tmpdir()), "berth-soak-"));
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const programs = new FailingPrograms(directory);
  const registry = stack.use(await FlakyRegistry.start());
  const engine = await EngineProcess.start({
    dataRoot: disk.path,
    ownGroup: true,
    environment: { PATH: `${programs.bin}:${process.env["PATH"]}` },
    flags: ["--default-address-pool", `base=10.${100 + (process.pid % 100)}.0.0/16,size=26`],
  });
  stack.defer(async () => {
    // An engine that can't clean up after itself has been found out by now; the host is clean in any case.
    const failed = await engine.remove().then(
      () => false,
      () => true,
    );
    if (!failed) return;
    await engine.crash();
    await sweep(engine);
    rmSync(engine.directory, { recursive: true, force: true });
  });
  log(`engine ${engine.pid} in ${engine.directory}, data on ${disk.path}`);

  const world: World = {
    engine,
    facts: new Facts(),
    conditions: new Conditions(),
    image,
    registry: registry.host,
    witness: undefined,
  };
  await loadBase(engine);
  const ports = await freePorts(options.clients * 3 + 1);
  const keeper = await Keeper.start(world, ports[0] ?? 0);
  const usedAtFirst = disk.usedMiB();
  const clients = Array.from(
    { length: options.clients },
    (_, index) =>
      new SoakClient({
        name: `soak${index}`,
        random: new SeededRandom(options.seed * 31 + index),
        world,
        ports: ports.slice(1 + index * 3, 4 + index * 3),
      }),
  );
  const rounds = new Rounds({
    troubles: options.troubles,
    world,
    random,
    clients,
    disk,
    programs,
    registry,
    keeper,
    log,
  });
  await rounds.walk(options.minutes * 60_000, signal);

  const faults = [...rounds.faults];
  if (faults.length === 0) {
    // Everything goes, and nothing of it stays.
    await removeEverything(clients, keeper);
    faults.push(...(await ownershipFaults(engine)));
    const usedAtLast = disk.usedMiB();
    log(`disk used: ${usedAtFirst.toFixed(1)} MiB with the base image, ${usedAtLast.toFixed(1)} MiB at the end`);
    if (usedAtLast > usedAtFirst + 24) faults.push(`${(usedAtLast - usedAtFirst).toFixed(1)} MiB are left on the disk`);
    faults.push(...clients.flatMap(({ complaints }) => complaints.splice(0)));
  }
  log(rounds.summary());
  if (faults.length > 0) for (const line of [...rounds.trace(), "", ...faults]) log(line);
  if (faults.length > 0 && options.keep) {
    await engine.stop();
    stack.move();
    await registry[Symbol.asyncDispose]();
    log(`kept: ${engine.directory} (engine.log) and the mounted ${disk.path}; what runs in it runs on`);
  } else {
    await stack.disposeAsync();
    try {
      await assertNothingLeft(engine);
    } catch (error) {
      faults.push(String(error));
    }
  }
  return { faults, ...rounds.figures() };
}

async function loadBase(engine: EngineProcess): Promise<void> {
  const archive = await busyboxArchive({
    tags: [image],
    files: { mark: "base\n" },
    config: { Labels: { [markLabel]: "base" } },
  });
  using client = engine.client();
  const { body } = await client.stream("POST", "/images/load", { body: Readable.from([archive]) });
  body.resume();
  await new Promise((resolve) => body.once("end", resolve));
}

/** Consecutive ports that nobody uses, below those that the kernel gives out. */
async function freePorts(count: number): Promise<readonly number[]> {
  for (let first = 21_000 + (process.pid % 100) * 100; first < 32_000; first += 100) {
    const ports = Array.from({ length: count }, (_, index) => first + index);
    if ((await Promise.all(ports.map(isFree))).every((free) => free)) return ports;
  }
  throw new Error("no free ports");
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Many containers that run, and many that don't: what asking, idling, restarting the engine and removing cost then. */
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import type { BerthEngine } from "../berth-engine.ts";
import { type Bench, type BenchCase, time, type Turn } from "../case.ts";
import { createContainer, inParallel, removeContainer, sleeper, startContainer } from "../containers.ts";
import { cpuMs, pssMiB, rssMiB } from "../engine-processes.ts";
import type { MeasuredEngine } from "../measured-engine.ts";
import type { Metric, Unit } from "../metric.ts";
import { quantile } from "../statistics.ts";

const running = 300;
const stopped = 2000;
const width = 8;

const figure = (id: string, label: string, unit: Unit, bound?: number): Metric => ({
  id: `scale.${id}`,
  label: `${running} running: ${label}`,
  unit,
  better: "less",
  ...(bound === undefined ? {} : { target: { kind: "value", bound } }),
});
const metrics = {
  start: figure("start", `all created and started, ${width} at a time, raw API`, "ms"),
  rss: figure("rss", "RSS of the engine", "MiB", 150),
  pss: figure("pss", "PSS of the engine", "MiB"),
  monitor: figure("monitor", "PSS of the monitors, for each container", "MiB"),
  list: figure("list", "`ps -a` at the API, median", "ms", 30),
  list95: figure("list.p95", "`ps -a` at the API, 95th percentile", "ms"),
  filtered: figure("list.filtered", "`ps --filter name=` of one at the API, median", "ms"),
  inspect: figure("inspect", "inspect of one, median", "ms"),
  statsOne: figure("stats.one", "stats of one, one shot, median", "ms"),
  statsAll: figure("stats.all", `stats of all, one shot, ${width} at a time`, "ms"),
  metrics: figure("metrics", "`/metrics`, median", "ms"),
  event: figure("event", "from a change to its event at another client, median", "ms"),
  idle: figure("idle", "processor time of the engine and its monitors over 60 s", "% of a core", 1),
  boot: figure("boot", "engine start after a kill, until a ping is answered", "ms"),
  rssAfterBoot: figure("boot.rss", "RSS of the engine after that", "MiB", 150),
  listMany: figure("many.list", `and ${stopped} stopped: list of the running, median`, "ms"),
  listAllMany: figure("many.list.all", `and ${stopped} stopped: \`ps -a\`, median`, "ms"),
  filteredMany: figure("many.filtered", `and ${stopped} stopped: list of one by name, median`, "ms"),
  rssMany: figure("many.rss", `and ${stopped} stopped: RSS of the engine`, "MiB"),
  remove: figure("remove", `all removed by force, ${width} at a time, raw API`, "ms"),
} as const;

export const scale: BenchCase = {
  name: "scale",
  about: `${running} running containers, then ${stopped} stopped ones besides (Berth only; a few minutes a round)`,
  berthOnly: true,
  onRequest: true,
  share: 1 / 3,
  warmUps: 0,
  async turn(turn, bench) {
    const names = Array.from({ length: running }, () => turn.engine.nextName());
    turn.record(metrics.start, await time(async () => await startAll(turn.engine, names)));
    await sleep(5000, undefined, { signal: bench.signal });
    await askAll(turn, names, bench);
    await idleAndRestart(turn, bench);
    await amongStopped(turn, bench, names);
    turn.record(
      metrics.remove,
      await time(async () => await inParallel(names, width, async (name) => await removeContainer(turn.engine, name))),
    );
  },
};

async function startAll(engine: MeasuredEngine, names: readonly string[]): Promise<void> {
  await inParallel(names, width, async (name) => {
    await startContainer(engine, await createContainer(engine, { name, command: sleeper }));
  });
}

async function askAll({ engine, record }: Turn, names: readonly string[], { berth, signal }: Bench): Promise<void> {
  const [first = ""] = names;
  await memoryOf(engine, berth, record);
  const lists = await times(40, async () => await list(engine, { all: 1 }));
  record(metrics.list, quantile(lists, 0.5));
  record(metrics.list95, quantile(lists, 0.95));
  record(metrics.filtered, await median(async () => await list(engine, named(first))));
  record(metrics.inspect, await median(async () => await engine.api.call("GET", `/containers/${first}/json`)));
  const stats = async (name: string): Promise<void> => {
    await engine.api.call("GET", `/containers/${name}/stats`, { query: { stream: 0, "one-shot": 1 } });
  };
  record(metrics.statsOne, await median(async () => await stats(first)));
  record(metrics.statsAll, await time(async () => await inParallel(names, width, stats)));
  // Scrapes within a second share one reading.
  const scrapes = await times(5, async () => await engine.scrape(), 1100);
  record(metrics.metrics, quantile(scrapes, 0.5));
  record(metrics.event, await eventLatency(engine, first, signal));
}

async function memoryOf(engine: MeasuredEngine, berth: BerthEngine, record: Turn["record"]): Promise<void> {
  record(metrics.rss, rssMiB([berth.pid]));
  record(metrics.pss, pssMiB([berth.pid]));
  const monitors = (await engine.pids()).filter((pid) => pid !== berth.pid);
  record(metrics.monitor, pssMiB(monitors) / running);
}

async function idleAndRestart({ engine, record }: Turn, { berth, signal }: Bench): Promise<void> {
  const windowMs = 60_000;
  const pids = await engine.pids();
  await sleep(3000, undefined, { signal });
  const before = cpuMs(pids);
  await sleep(windowMs, undefined, { signal });
  record(metrics.idle, ((cpuMs(pids) - before) / windowMs) * 100);

  await berth.crash();
  record(metrics.boot, await berth.boot());
  const found = await list(engine, {});
  if (found.length !== running) throw new Error(`${found.length} of ${running} run after the engine's restart`);
  await sleep(5000, undefined, { signal });
  record(metrics.rssAfterBoot, rssMiB([berth.pid]));
}

async function amongStopped({ engine, record }: Turn, { berth }: Bench, names: readonly string[]): Promise<void> {
  const idle = Array.from({ length: stopped }, () => engine.nextName());
  await inParallel(idle, width, async (name) => {
    await createContainer(engine, { name, command: sleeper, network: "none" });
  });
  record(metrics.listMany, await median(async () => await list(engine, {})));
  record(metrics.listAllMany, await median(async () => await list(engine, { all: 1 })));
  record(metrics.filteredMany, await median(async () => await list(engine, named(names[1] ?? ""))));
  record(metrics.rssMany, rssMiB([berth.pid]));
  await inParallel(idle, width, async (name) => await removeContainer(engine, name));
}

async function list(
  engine: MeasuredEngine,
  query: Readonly<Record<string, string | number>>,
): Promise<readonly unknown[]> {
  return await engine.api.call<readonly unknown[]>("GET", "/containers/json", { query });
}

function named(name: string): Readonly<Record<string, string>> {
  return { filters: JSON.stringify({ name: [`^/${name}$`] }) };
}

async function median(work: () => Promise<unknown>): Promise<number> {
  return quantile(await times(20, work), 0.5);
}

/** Sorted milliseconds of `count` calls, one after the other and `pauseMs` apart; the first ones only warm up. */
async function times(count: number, work: () => Promise<unknown>, pauseMs = 0): Promise<readonly number[]> {
  const warmUps = 3;
  const measured: number[] = [];
  for (let at = -warmUps; at < count; at++) {
    if (pauseMs > 0) await sleep(pauseMs);
    const ms = await time(work);
    if (at >= 0) measured.push(ms);
  }
  return measured.toSorted((a, b) => a - b);
}

/** From the request of a rename to its event at a client that watches. Filtered by id: a filter by name loses what is renamed. */
async function eventLatency(engine: MeasuredEngine, name: string, signal: AbortSignal): Promise<number> {
  const { Id } = await engine.api.call<{ readonly Id: string }>("GET", `/containers/${name}/json`);
  const filters = JSON.stringify({ container: [Id], event: ["rename"] });
  const controller = new AbortController();
  const limit = AbortSignal.any([controller.signal, signal, AbortSignal.timeout(30_000)]);
  const { body } = await engine.api.stream("GET", "/events", { query: { filters }, signal: limit });
  const measured: number[] = [];
  try {
    const lines = createInterface({ input: body })[Symbol.asyncIterator]();
    for (let at = 0; at < 10; at++) {
      const started = performance.now();
      const arrived = lines.next();
      await engine.api.call("POST", `/containers/${Id}/rename`, {
        query: { name: at % 2 === 0 ? `${name}-renamed` : name },
      });
      if ((await arrived).done === true)
        throw new Error("the stream of events ended before the event of a rename came");
      measured.push(performance.now() - started);
    }
  } finally {
    body.on("error", () => {}); // Aborted by us.
    controller.abort();
  }
  return quantile(
    measured.toSorted((a, b) => a - b),
    0.5,
  );
}

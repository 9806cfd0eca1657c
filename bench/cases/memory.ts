/** What the engine itself holds, and what each running container adds to that. */
import { setTimeout as sleep } from "node:timers/promises";
import type { BenchCase } from "../case.ts";
import { createContainer, inParallel, removeContainer, sleeper, startContainer } from "../containers.ts";
import { pssMiB, rssMiB } from "../engine-processes.ts";
import type { Metric } from "../metric.ts";

const size = 20;
const idle: Metric = { id: "memory.idle", label: "the engine, nothing running, PSS", unit: "MiB", better: "less" };
const idleRss: Metric = {
  id: "memory.idle.rss",
  label: "the engine, nothing running, RSS",
  unit: "MiB",
  better: "less",
};
const added: Metric = {
  id: "memory.container",
  label: `PSS added for each of ${size} running containers (engine and monitors)`,
  unit: "MiB",
  better: "less",
  target: { kind: "value", bound: 1 },
};

/** Long enough for what a start leaves to be done in the background. */
const settleMs = 3000;

export const memory: BenchCase = {
  name: "pss",
  about: "memory of the engine, and what each running container adds",
  share: 1 / 3,
  async turn({ engine, record }, { signal }) {
    await sleep(settleMs, undefined, { signal });
    const before = await engine.pids();
    const pssBefore = pssMiB(before);
    record(idle, pssBefore);
    record(idleRss, rssMiB(before));
    const names = Array.from({ length: size }, () => engine.nextName());
    await inParallel(names, 4, async (name) => {
      await startContainer(engine, await createContainer(engine, { name, command: sleeper }));
    });
    await sleep(settleMs, undefined, { signal });
    record(added, (pssMiB(await engine.pids()) - pssBefore) / size);
    await inParallel(names, 4, async (name) => await removeContainer(engine, name));
  },
};

import { setTimeout as sleep } from "node:timers/promises";
import type { BenchCase } from "../case.ts";
import { cpuMs } from "../engine-processes.ts";
import type { Metric } from "../metric.ts";

const cpu: Metric = {
  id: "idle.cpu",
  label: "processor time of the engine, nothing running",
  unit: "% of a core",
  better: "less",
};
const windowMs = 10_000;

export const idle: BenchCase = {
  name: "idle",
  about: "processor time of an engine that has nothing to do",
  share: 1 / 3,
  warmUps: 0,
  async turn({ engine, record }, { signal }) {
    const pids = await engine.pids();
    await sleep(2000, undefined, { signal });
    const before = cpuMs(pids);
    await sleep(windowMs, undefined, { signal });
    record(cpu, ((cpuMs(pids) - before) / windowMs) * 100);
  },
};

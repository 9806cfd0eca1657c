/** What following the figures of many containers costs: `berth stats`, and `docker stats` of the others. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { BenchCase } from "../case.ts";
import { createContainer, inParallel, removeContainer, sleeper, startContainer } from "../containers.ts";
import { cpuMs } from "../engine-processes.ts";
import type { Metric } from "../metric.ts";

const size = 100;
const windowMs = 20_000;
/** The client's own start and first reading are not what is measured. */
const settleMs = 4000;
const program = new URL("../../bin/berth", import.meta.url).pathname;

const followed: Metric = {
  id: "stats.followed",
  label: `\`stats\` of ${size} containers, a reading a second: engine and client`,
  unit: "% of a core",
  better: "less",
  target: { kind: "value", bound: 1 },
};

export const stats: BenchCase = {
  name: "stats",
  about: `processor time of following ${size} containers`,
  onRequest: true,
  share: 1 / 3,
  warmUps: 0,
  async turn({ engine, record }, { signal }) {
    const names = Array.from({ length: size }, () => engine.nextName());
    await inParallel(names, 8, async (name) => {
      await startContainer(engine, await createContainer(engine, { name, command: sleeper }));
    });
    const environment = { ...process.env, DOCKER_HOST: engine.host, BERTH_HOST: engine.host };
    const client = spawn(engine.isBerth ? program : "docker", ["stats"], { env: environment, stdio: "ignore" });
    const ended = once(client, "exit");
    try {
      await sleep(settleMs, undefined, { signal });
      if (client.exitCode !== null || client.pid === undefined) throw new Error("the client ended by itself");
      const pids = [...(await engine.pids()), client.pid];
      const before = cpuMs(pids);
      await sleep(windowMs, undefined, { signal });
      record(followed, ((cpuMs(pids) - before) / windowMs) * 100);
    } finally {
      client.kill();
      await ended;
    }
    await inParallel(names, 8, async (name) => await removeContainer(engine, name));
  },
};

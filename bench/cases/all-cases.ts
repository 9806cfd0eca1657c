import type { BenchCase } from "../case.ts";
import { build } from "./build.ts";
import { exec } from "./exec.ts";
import { fleet } from "./fleet.ts";
import { idle } from "./idle.ts";
import { archives, pulls } from "./images.ts";
import { life } from "./life.ts";
import { machineBoot, machineFleet, machinePool, machineStart } from "./machines.ts";
import { memory } from "./memory.ts";
import { network } from "./network.ts";
import { run } from "./run.ts";
import { scale } from "./scale.ts";
import { stats } from "./stats.ts";
import { startUp } from "./start-up.ts";

/** In the order in which they are measured and shown. */
export const allCases: readonly BenchCase[] = [
  run,
  exec,
  life,
  fleet,
  memory,
  idle,
  network,
  archives,
  pulls,
  build,
  startUp,
  scale,
  stats,
  machineStart,
  machinePool,
  machineFleet,
  machineBoot,
];

import type { BenchCase } from "../case.ts";
import { exec } from "./exec.ts";
import { fleet } from "./fleet.ts";
import { life } from "./life.ts";
import { memory } from "./memory.ts";
import { run } from "./run.ts";

/** In the order in which they are measured and shown. */
export const allCases: readonly BenchCase[] = [run, exec, life, fleet, memory];

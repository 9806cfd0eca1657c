/** Every case, in the order in which they run. */
import { buildCases } from "./build-cases.ts";
import { imageCases } from "./image-cases.ts";
import { insideCases } from "./inside-cases.ts";
import { lifeCases } from "./life-cases.ts";
import { networkCases } from "./network-cases.ts";
import { runCases } from "./run-cases.ts";
import { systemCases } from "./system-cases.ts";
import { volumeCases } from "./volume-cases.ts";
import type { DockerCase } from "./docker-case.ts";

export const dockerCases: readonly DockerCase[] = [
  ...runCases,
  ...lifeCases,
  ...insideCases,
  ...imageCases,
  ...buildCases,
  ...networkCases,
  ...volumeCases,
  ...systemCases,
];

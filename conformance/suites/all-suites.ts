/** The suites, in the order of the report. One more: a module beside this file, its name here, and `reasons/NAME.json` for what fails. */
import type { Suite } from "../suite.ts";
import { buildah } from "./buildah.ts";
import { dockerPy } from "./docker-py.ts";
import { dockerfileParser } from "./dockerfile-parser.ts";
import { dockerode } from "./dockerode.ts";
import { podmanApiv2 } from "./podman-apiv2.ts";
import { testcontainers } from "./testcontainers.ts";

export const allSuites: readonly Suite[] = [
  podmanApiv2,
  dockerPy,
  dockerfileParser,
  buildah,
  dockerode,
  testcontainers,
];

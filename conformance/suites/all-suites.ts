/** The suites, in the order of the report. One more: a module beside this file, its name here, and `reasons/NAME.json` for what fails. */
import type { Suite } from "../suite.ts";
import { dockerfileParser } from "./dockerfile-parser.ts";
import { dockerode } from "./dockerode.ts";
import { testcontainers } from "./testcontainers.ts";

export const allSuites: readonly Suite[] = [dockerfileParser, dockerode, testcontainers];

import { failpointCatalogue } from "./failpoint-catalogue.ts";
import { hostErrors } from "./errors.ts";

export type FailpointAction =
  /** SIGKILL to ourselves: nothing happens after. */
  | { readonly kind: "die" }
  /** The effect does not happen, and fails as it would by itself. */
  | { readonly kind: "fail" }
  /** The effect happens after so many milliseconds; `Infinity` is never. */
  | { readonly kind: "delay"; readonly ms: number };

export interface FailpointRule {
  /** A name of the catalogue, or `*` for every one. */
  readonly name: string;
  /** Only the effect with this number, counted from 1 since arming; undefined for each. */
  readonly hit: number | undefined;
  readonly action: FailpointAction;
}

export interface FailpointSpec {
  readonly rules: readonly FailpointRule[];
  /** File to which a line is appended for each effect. */
  readonly trace: string | undefined;
}

/** What `--help` says about the variable. */
export const failpointSpecHelp = `BERTH_FAILPOINTS arms failpoints when the daemon starts: parts of the form NAME[#K]=ACTION, separated by semicolons.
  NAME       a name of the list, or * for all of them
  #K         only the K-th effect of that name since arming
  ACTION     die       the engine is killed (SIGKILL) in front of the effect
             fail      the effect does not happen and fails
             hang      the effect never happens
             delay:MS  the effect happens so many milliseconds later
  trace=FILE appends a line to FILE for each effect: its name and what it is done to
  @FILE      instead of all this: the parts are read from FILE, at start and again on SIGUSR2
`;

/** Parses "kernel.mount#3=die;process.conmon=fail;trace=/tmp/trace". `FAILPOINT_SPEC_INVALID` names the part. */
export function parseFailpoints(text: string): FailpointSpec {
  const rules: FailpointRule[] = [];
  let trace: string | undefined;
  for (const part of text.split(/[;\n]/).map((each) => each.trim())) {
    if (part === "") continue;
    const [, name = "", hit, action = ""] = /^([^#=]+)(?:#([^=]*))?=(.*)$/.exec(part) ?? [];
    if (name === "trace" && hit === undefined && action.startsWith("/")) trace = action;
    else rules.push({ name: knownName(part, name), hit: hitOf(part, hit), action: actionOf(part, action) });
  }
  return { rules, trace };
}

function knownName(part: string, name: string): string {
  if (name === "") throw invalid(part, "it is not of the form NAME[#K]=ACTION");
  if (name === "trace") throw invalid(part, "trace takes the absolute path of a file");
  if (name !== "*" && !failpointCatalogue.has(name)) throw invalid(part, `there is no failpoint called ${name}`);
  return name;
}

function hitOf(part: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d*$/.test(text)) throw invalid(part, "the number after # counts from 1");
  return Number(text);
}

function actionOf(part: string, text: string): FailpointAction {
  if (text === "die" || text === "fail") return { kind: text };
  if (text === "hang") return { kind: "delay", ms: Number.POSITIVE_INFINITY };
  const ms = /^delay:(\d+)$/.exec(text)?.[1];
  if (ms === undefined) throw invalid(part, "the action is die, fail, hang or delay:MS");
  return { kind: "delay", ms: Number(ms) };
}

function invalid(part: string, reason: string): Error {
  return hostErrors.FAILPOINT_SPEC_INVALID({ part, reason });
}

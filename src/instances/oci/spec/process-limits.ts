import type { Ulimit } from "../../../schema/instance.ts";
import { ociErrors } from "../errors.ts";
import type { OciRlimit } from "./oci-spec.ts";

/** What this process may hand on: a child gets no more unless we have CAP_SYS_RESOURCE. */
export interface OwnLimits {
  readonly maySetAny: boolean;
  /** Hard limits by ulimit name; Infinity is unlimited. */
  readonly hard: ReadonlyMap<string, number>;
  readonly oomScoreAdj: number;
}

/** ulimit names, and how /proc/PID/limits calls them. */
const titles: Readonly<Record<string, string>> = {
  core: "Max core file size",
  cpu: "Max cpu time",
  data: "Max data size",
  fsize: "Max file size",
  locks: "Max file locks",
  memlock: "Max locked memory",
  msgqueue: "Max msgqueue size",
  nice: "Max nice priority",
  nofile: "Max open files",
  nproc: "Max processes",
  rss: "Max resident set",
  rtprio: "Max realtime priority",
  rttime: "Max realtime timeout",
  sigpending: "Max pending signals",
  stack: "Max stack size",
};

/** The kernel's RLIM_INFINITY. JSON numbers can't hold it exactly; this is the nearest one that the runtimes still read as uint64. */
const unlimited = 18_446_744_073_709_549_568;

/** Reads the hard limits out of /proc/PID/limits. */
export function parseHardLimits(text: string): ReadonlyMap<string, number> {
  const limits = new Map<string, number>();
  for (const [name, title] of Object.entries(titles)) {
    const line = text.split("\n").find((one) => one.startsWith(`${title} `));
    const hard = line?.slice(title.length).trim().split(/\s+/)[1];
    if (hard !== undefined) limits.set(name, hard === "unlimited" ? Number.POSITIVE_INFINITY : Number(hard));
  }
  return limits;
}

/** `--ulimit` as the specification has it; what this process could not set is refused here, by name. -1 is unlimited. */
export function processRlimits(ulimits: readonly Ulimit[], own: OwnLimits): readonly OciRlimit[] {
  return ulimits.map(({ name, soft, hard }) => {
    if (!(name in titles)) throw ociErrors.ULIMIT_UNKNOWN({ name });
    if (asNumber(soft) > asNumber(hard)) throw ociErrors.ULIMIT_INVALID({ name, soft, hard });
    const ceiling = own.hard.get(name) ?? Number.POSITIVE_INFINITY;
    if (!own.maySetAny && asNumber(hard) > ceiling) {
      throw ociErrors.ULIMIT_NOT_PERMITTED({ name, asked: hard, hard: ceiling });
    }
    return { type: `RLIMIT_${name.toUpperCase()}`, soft: stated(soft), hard: stated(hard) };
  });
}

/** The score to set; undefined leaves our own: when none was asked for and ours may not be lowered to 0. */
export function processOomScore(asked: number, own: OwnLimits): number | undefined {
  if (own.maySetAny || asked >= own.oomScoreAdj) return asked;
  if (asked === 0) return undefined;
  throw ociErrors.OOM_SCORE_NOT_PERMITTED({ asked, current: own.oomScoreAdj });
}

function asNumber(limit: number): number {
  return limit < 0 ? Number.POSITIVE_INFINITY : limit;
}

function stated(limit: number): number {
  return limit < 0 ? unlimited : limit;
}

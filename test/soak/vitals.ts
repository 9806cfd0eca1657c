/** What an engine's process takes of the machine, and whether that grows without bound. */
import { readdirSync, readFileSync } from "node:fs";

export interface Vitals {
  /** Minutes since the soak began, and since this engine was started. */
  readonly atMinutes: number;
  readonly ageSeconds: number;
  readonly rssMiB: number;
  readonly fds: number;
  readonly threads: number;
}

export function vitalsOf(pid: number): Pick<Vitals, "rssMiB" | "fds" | "threads"> {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const number = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
  return {
    rssMiB: Math.round(number("VmRSS") / 1024),
    fds: readdirSync(`/proc/${pid}/fd`).length,
    threads: number("Threads"),
  };
}

/** How much more one life of an engine may take at its end than when it had warmed up, in the same idle state. */
const allowance = { rssMiB: 120, fds: 40, threads: 12 };

/** Compares the last idle state of a life with an early one. Undefined when all is well, or when there is too little to compare. */
export function growthFault(life: readonly Vitals[]): string | undefined {
  const warm = life.slice(1);
  const [early] = warm;
  const late = warm.at(-1);
  if (early === undefined || late === undefined || early === late) return undefined;
  const grown = (["rssMiB", "fds", "threads"] as const).filter((what) => late[what] > early[what] + allowance[what]);
  if (grown.length === 0) return undefined;
  const seconds = Math.round(late.ageSeconds - early.ageSeconds);
  return `in ${seconds} s the idle engine grew: ${grown.map((what) => `${what} from ${early[what]} to ${late[what]}`).join(", ")}`;
}

/** What Berth reads of /proc/PID/stat (proc_pid_stat(5)). */
export interface ProcStat {
  readonly pid: number;
  readonly name: string;
  /** "R", "S", "D", "Z" (zombie), "X" (dead), ... */
  readonly state: string;
  readonly parent: number;
  /** Pid of the session's leader. */
  readonly session: number;
  /** It is on its way out (PF_EXITING), which may take as long as others hold it up. */
  readonly exiting: boolean;
  /** Clock ticks since boot. */
  readonly startTime: number;
}

/** include/linux/sched.h */
const PF_EXITING = 0x4;

/** Undefined when the text is not a stat line. The name may hold spaces and parentheses: it ends at the last one. */
export function parseProcStat(text: string): ProcStat | undefined {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  if (open < 0 || close < open) return undefined;
  const rest = text.slice(close + 2).split(" ");
  const [state, parent, , session] = rest;
  const flags = rest[6];
  const startTime = rest[19];
  if (state === undefined || parent === undefined || session === undefined || startTime === undefined) return undefined;
  return {
    pid: Number.parseInt(text.slice(0, open), 10),
    name: text.slice(open + 1, close),
    state,
    parent: Number(parent),
    session: Number(session),
    exiting: (Number(flags) & PF_EXITING) !== 0,
    startTime: Number(startTime),
  };
}

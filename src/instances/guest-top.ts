/** `docker top` of a machine: the processes that its agent lists, in the columns that ps would have. */
import type { GuestProcess } from "./driver.ts";
import { instanceErrors } from "./errors.ts";
import type { ProcessTable } from "./top.ts";

interface Column {
  readonly title: string;
  readonly of: (process: GuestProcess) => string;
}

/** By ps's names. What only a ps in the guest would work out (when each began, on which terminal) is not there. */
const columns: Readonly<Record<string, Column>> = {
  uid: { title: "UID", of: ({ uid }) => String(uid) },
  user: { title: "USER", of: ({ uid }) => String(uid) },
  pid: { title: "PID", of: ({ pid }) => String(pid) },
  ppid: { title: "PPID", of: ({ ppid }) => String(ppid) },
  time: { title: "TIME", of: ({ cpuSeconds }) => clockTime(cpuSeconds) },
  comm: { title: "COMMAND", of: ({ command }) => command.split(" ", 1)[0]?.replace(/^.*\//, "") ?? "" },
  args: { title: "COMMAND", of: ({ command }) => command },
  command: { title: "COMMAND", of: ({ command }) => command },
  cmd: { title: "CMD", of: ({ command }) => command },
};
const usual = ["uid", "pid", "ppid", "time", "cmd"];

/** `psArguments` is "", "-ef", or `-o` with names of columns (`pid,comm=NAME`); undefined for another. */
export function guestTable(processes: readonly GuestProcess[], psArguments: string): ProcessTable | undefined {
  const chosen = psArguments === "" || psArguments === "-ef" ? usual : formatOf(psArguments);
  if (chosen === undefined) return undefined;
  const shown = chosen.map((word): Column | undefined => {
    const [name = "", title] = word.split("=");
    const column = columns[name];
    return column === undefined || title === undefined ? column : { ...column, title };
  });
  if (!shown.every((column) => column !== undefined)) return undefined;
  if (!chosen.some((word) => /^pid(=|$)/.test(word))) {
    throw instanceErrors.TOP_FAILED({ reason: "Couldn't find PID field in ps output" });
  }
  return {
    titles: shown.map(({ title }) => title),
    rows: processes.map((process) => shown.map((column) => column.of(process))),
  };
}

function formatOf(text: string): readonly string[] | undefined {
  const [, format] = /^-?o[ ]?(\S+)$/.exec(text.trim()) ?? [];
  return format?.split(",").filter((word) => word !== "");
}

function clockTime(seconds: number): string {
  return [seconds / 3600, (seconds / 60) % 60, seconds % 60]
    .map((part) => String(Math.floor(part)).padStart(2, "0"))
    .join(":");
}

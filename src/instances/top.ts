import type { OpContext } from "../base/op-context.ts";
import { insideOf } from "./files/inside.ts";
import { guestTable } from "./guest-top.ts";
import { driverOf, type Parts } from "./parts.ts";
import { instanceErrors } from "./errors.ts";
import { resolveInstance } from "./resolve.ts";
import { invalid } from "./validate/invalid.ts";

export interface ProcessTable {
  readonly titles: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** See {@link InstanceService.processes}: the host's `ps` with the user's arguments, narrowed to the instance's processes. */
export async function instanceProcesses(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  psArguments: string,
): Promise<ProcessTable> {
  const words = (psArguments === "" ? "-ef" : psArguments).split(" ").filter((word) => word !== "");
  validatePsArguments(words.join(" "));
  const record = resolveInstance(parts.records, nameOrId);
  const { handle, status } = record.state;
  if (status === "restarting") throw instanceErrors.RESTARTING({ id: record.id });
  if (handle === null || (status !== "running" && status !== "paused")) {
    throw instanceErrors.NOT_RUNNING({ id: record.id });
  }
  const driver = driverOf(parts, record.spec);
  if (driver.inside !== undefined) {
    const inside = insideOf(parts, record, "list the processes of");
    const processes = inside === undefined ? [] : await inside.driver.processes(ctx, inside.handle);
    const table = guestTable(processes, psArguments);
    if (table === undefined) {
      throw instanceErrors.INSIDE_UNSUPPORTED({ name: record.name, verb: "run ps with those options in" });
    }
    parts.publish(record, "top");
    return table;
  }
  const pids = await driver.processes(ctx, handle);
  const table = parsePs(await runPs(parts, ctx, words, pids), new Set(pids));
  parts.publish(record, "top");
  return table;
}

/** A column titled PID that holds something else would show other containers' processes (`-o user=PID`). */
function validatePsArguments(text: string): void {
  for (const [, column, title] of text.matchAll(/(?:^|[\s,])([^\s,=]*)=\s*(PID[^\s,]*)/g)) {
    if (column !== "pid") throw invalid(`specifying "${column}=${title}" is not allowed`);
  }
}

async function runPs(parts: Parts, ctx: OpContext, words: readonly string[], pids: readonly number[]): Promise<string> {
  const narrowed = await parts.host.processes.run(ctx, { argv: ["ps", ...words, `-q${pids.join(",")}`] });
  if (narrowed.code === 0) return narrowed.stdout;
  // Some options, such as `f`, can't be used together with -q: the rows are then picked from all.
  const whole = await parts.host.processes.run(ctx, { argv: ["ps", ...words] });
  if (whole.code === 0) return whole.stdout;
  throw instanceErrors.TOP_FAILED({ reason: whole.stderr.split("\n", 1)[0] ?? `exit status ${whole.code}` });
}

/** Rows of `pids`, and the thread rows ("-" for a pid) that follow one of them. The last column keeps its spaces' words joined. */
export function parsePs(output: string, pids: ReadonlySet<number>): ProcessTable {
  const [head = "", ...lines] = output.split("\n");
  const titles = fields(head);
  const pidColumn = titles.indexOf("PID");
  if (pidColumn < 0) throw instanceErrors.TOP_FAILED({ reason: "Couldn't find PID field in ps output" });
  const rows: string[][] = [];
  let inside = false;
  for (const line of lines) {
    const words = fields(line);
    const pid = words[pidColumn];
    if (pid === undefined) continue;
    if (pid !== "-") inside = pids.has(Number(pid));
    if (inside) rows.push([...words.slice(0, titles.length - 1), words.slice(titles.length - 1).join(" ")]);
  }
  return { titles, rows };
}

function fields(line: string): string[] {
  return line.split(/[ \t\n\v\f\r]+/).filter((word) => word !== "");
}

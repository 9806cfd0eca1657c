import type { OpContext } from "../base/op-context.ts";
import type { Host } from "../host/host.ts";
import { osImageErrors } from "./errors.ts";

export interface ToolRun {
  /** What it is for, in messages. */
  readonly step: string;
  readonly program: string;
  readonly words: readonly string[];
  /** 10 minutes unless given. */
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program to its end, and returns what it printed. `OS_TOOL_MISSING`, `OS_TOOL_FAILED` with its last words. */
export async function runTool(ctx: OpContext, host: Pick<Host, "processes">, run: ToolRun): Promise<string> {
  const path = host.processes.which(run.program);
  if (path === undefined) throw osImageErrors.OS_TOOL_MISSING({ program: run.program });
  const { code, stdout, stderr } = await host.processes.run(ctx, {
    argv: [path, ...run.words],
    timeoutMs: run.timeoutMs ?? 600_000,
    ...(run.env === undefined ? {} : { env: run.env }),
  });
  if (code === 0) return stdout;
  const reason = stderr.trim().split("\n").at(-1) ?? "";
  throw osImageErrors.OS_TOOL_FAILED({ step: run.step, reason: reason === "" ? `exit code ${code}` : reason });
}

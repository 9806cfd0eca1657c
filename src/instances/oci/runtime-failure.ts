import type { BerthError } from "../../base/errors.ts";
import { driverErrors } from "../driver-errors.ts";

export interface RuntimeFailure {
  readonly id: string;
  readonly step: "create" | "exec";
  /** argv[0] of the command that was to run. */
  readonly command: string;
  /** What the runtime wrote to stderr or its log. */
  readonly text: string;
}

/**
 * A runtime's error as Docker would report it: a missing command is `COMMAND_NOT_FOUND` (exit code 127), one that can't
 * be run `COMMAND_NOT_EXECUTABLE` (126), with runc's words, which the docker client looks for.
 */
export function runtimeFailure({ id, step, command, text }: RuntimeFailure): BerthError {
  const reason = messageIn(text);
  const named = (words: string) => `unable to start container process: exec: "${command}": ${words}`;
  const [, cwd, cause] = /chdir `(.*)`: (No such file or directory|Permission denied)/.exec(reason) ?? [];
  if (cwd !== undefined && cause !== undefined) {
    const chdir = `unable to start container process: chdir to cwd ("${cwd}") set in config.json failed: ${cause.toLowerCase()}`;
    return cause.startsWith("No")
      ? driverErrors.COMMAND_NOT_FOUND({ step, command, reason: chdir })
      : driverErrors.COMMAND_NOT_EXECUTABLE({ step, command, reason: chdir });
  }
  const crun = crunWords(reason, command);
  if (crun !== undefined) {
    return crun.missing
      ? driverErrors.COMMAND_NOT_FOUND({ step, command, reason: named(crun.words) })
      : driverErrors.COMMAND_NOT_EXECUTABLE({ step, command, reason: named(crun.words) });
  }
  if (/exec: ".*": (executable file not found|.*no such file or directory)|chdir to cwd .* no such file/.test(reason)) {
    return driverErrors.COMMAND_NOT_FOUND({ step, command, reason });
  }
  if (
    /exec: ".*": .*(permission denied|is a directory)|exec format error|chdir to cwd .* permission denied/.test(reason)
  ) {
    return driverErrors.COMMAND_NOT_EXECUTABLE({ step, command, reason });
  }
  return driverErrors.RUNTIME_FAILED({ id, step, reason: reason === "" ? "the runtime gave no reason" : reason });
}

/** The message itself: out of logrus's key=value lines or JSON lines, without crun's time. */
function messageIn(text: string): string {
  const lines = text
    .split("\n")
    .map(lineMessage)
    .filter((line) => line !== "");
  return [...new Set(lines)].join("; ");
}

function lineMessage(line: string): string {
  const trimmed = line.trim();
  const logrus = /\bmsg="((?:[^"\\]|\\.)*)"/.exec(trimmed)?.[1];
  if (logrus !== undefined) return logrus.replaceAll(/\\(.)/g, "$1");
  if (trimmed.startsWith("{")) {
    const quoted = /"msg":\s*("(?:[^"\\]|\\.)*")/.exec(trimmed)?.[1];
    const parsed: unknown = quoted === undefined ? undefined : JSON.parse(quoted);
    if (typeof parsed === "string") return parsed;
  }
  return trimmed.replace(/^\d{4}-\d\d-\d\dT\S+Z: /, "");
}

function crunWords(reason: string, command: string): { readonly missing: boolean; readonly words: string } | undefined {
  if (/executable file (`.*`|'.*') not found( in \$PATH)?: No such file/.test(reason)) {
    return command.includes("/")
      ? { missing: true, words: `stat ${command}: no such file or directory` }
      : { missing: true, words: "executable file not found in $PATH" };
  }
  if (
    /executable file (`.*`|'.*') not found|open executable: |the path (`.*`|'.*') exists but it is not executable/.test(
      reason,
    )
  ) {
    return /No such file/.test(reason)
      ? { missing: true, words: `stat ${command}: no such file or directory` }
      : { missing: false, words: "permission denied" };
  }
  return undefined;
}

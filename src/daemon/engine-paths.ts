import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import { mkdirSync } from "../host/files.ts";
import { daemonErrors } from "./errors.ts";

/** Where an engine keeps its things. */
export interface EnginePaths {
  readonly dataRoot: string;
  readonly runRoot: string;
  /** 6 hexadecimal digits made of the data root: in the name of all that the engine makes on the host, so that engines don't meet. */
  readonly tag: string;
}

/** Makes the two directories. The run root can be crossed by everybody (0711), for DNS servers that gave up root. */
export function preparePaths(dataRoot: string, runRoot: string): EnginePaths {
  requirePlainPath(dataRoot);
  const made = make(dataRoot, 0o710);
  requirePlainPath(made);
  return {
    dataRoot: made,
    runRoot: make(runRoot, 0o711),
    tag: createHash("sha256").update(made).digest("hex").slice(0, 6),
  };
}

/** The database of records. */
export function statePath(paths: EnginePaths): string {
  return join(paths.dataRoot, "state.db");
}

/** conmon takes a log as "format:path", and overlayfs its directories as "a:b,option": neither can be escaped everywhere. */
function requirePlainPath(path: string): void {
  const separator = /[:,\\]/.exec(path)?.[0];
  if (separator === undefined) return;
  const reason = `it has a "${separator}" in its path, which separates the options of a mount and of a log`;
  throw daemonErrors.DIRECTORY_UNUSABLE({ path, reason });
}

function make(path: string, mode: number): string {
  try {
    mkdirSync(path, { recursive: true, mode });
    return realpathSync(path);
  } catch (error) {
    throw daemonErrors.DIRECTORY_UNUSABLE({ path, reason: messageOf(error) }, { cause: error });
  }
}

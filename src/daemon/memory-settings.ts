/**
 * How the daemon bounds its own memory. It lives for months and holds little: with the usual young generation (16 MiB, times three) and
 * an arena of malloc's for each thread it keeps the garbage of its busiest minute. Its calls take as long as before.
 */
const semiSpace = "--max-semi-space-size";
const arenas = "MALLOC_ARENA_MAX";

export interface StartedWith {
  readonly execArgv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** What the process lacks; undefined when it runs with both. What a user has set is left as it is. */
export function missingSettings({
  execArgv,
  environment,
}: StartedWith):
  | { readonly execArgv: readonly string[]; readonly environment: Readonly<Record<string, string>> }
  | undefined {
  const given = [...execArgv, ...(environment["NODE_OPTIONS"] ?? "").split(" ")];
  const bounded = given.some((word) => word.startsWith(semiSpace));
  if (bounded && environment[arenas] !== undefined) return undefined;
  return {
    execArgv: bounded ? [] : [`${semiSpace}=2`],
    environment: environment[arenas] === undefined ? { [arenas]: "2" } : {},
  };
}

/**
 * Both are read once, when a process starts: one that was started without them replaces itself (same pid, same files), so that the
 * daemon is the same however it is started. `bin/berth` sets them, which saves the second start.
 */
export function applyMemorySettings(): void {
  const missing = missingSettings({ execArgv: process.execArgv, environment: process.env });
  if (missing === undefined) return;
  const { execPath, execArgv, argv } = process;
  const environment = { ...process.env, ...missing.environment };
  process.execve?.(execPath, [execPath, ...execArgv, ...missing.execArgv, ...argv.slice(1)], environment);
}

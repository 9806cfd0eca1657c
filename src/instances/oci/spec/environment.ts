/** What decides a process's environment besides its own variables. */
export interface EnvironmentRequest {
  /** "NAME=value", and "NAME" to take a default away. */
  readonly env: readonly string[];
  readonly hostname: string;
  readonly tty: boolean;
  readonly home: string;
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** PATH, HOSTNAME and TERM (with a terminal) first, overridden in place by the own ones; HOME last unless it is stated. */
export function processEnvironment(request: EnvironmentRequest): readonly string[] {
  const variables = new Map<string, string>();
  const defaults = [defaultPath, `HOSTNAME=${request.hostname}`, ...(request.tty ? ["TERM=xterm"] : [])];
  for (const entry of [...defaults, ...request.env]) {
    const equals = entry.indexOf("=");
    if (equals < 0) variables.delete(entry);
    else variables.set(entry.slice(0, equals), entry);
  }
  if (!variables.has("HOME")) variables.set("HOME", `HOME=${request.home}`);
  return [...variables.values()];
}

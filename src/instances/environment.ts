import type { InstanceSpec } from "../schema/instance.ts";

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** The whole environment of a process in an instance, as Docker composes it: PATH, HOSTNAME, TERM; the spec's; `additions` last. */
export function completeEnvironment(
  spec: InstanceSpec,
  hostname: string,
  options: { readonly tty: boolean; readonly additions?: readonly string[] },
): readonly string[] {
  const base = [`PATH=${defaultPath}`, `HOSTNAME=${hostname}`, ...(options.tty ? ["TERM=xterm"] : [])];
  return mergeEnvironment(mergeEnvironment(base, spec.process.env), options.additions ?? []);
}

/** `over` replaces variables of `base` in place and adds the rest. A name without "=" removes the variable. */
export function mergeEnvironment(base: readonly string[], over: readonly string[]): readonly string[] {
  const merged = new Map(base.map((variable) => [nameOf(variable), variable]));
  for (const variable of over) {
    if (variable.includes("=")) merged.set(nameOf(variable), variable);
    else merged.delete(variable);
  }
  return [...merged.values()];
}

function nameOf(variable: string): string {
  const equals = variable.indexOf("=");
  return equals < 0 ? variable : variable.slice(0, equals);
}

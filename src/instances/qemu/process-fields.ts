/** A process of the guest, as its agent is told it: "run" and "exec" of guest/protocol.h. */
import { encodeFields, type Field, maxPayload } from "../../guest/frames.ts";
import { capabilityNames } from "../../schema/capability.ts";
import type { ResourceSpec } from "../../schema/resources.ts";
import type { ExecRequest, PrepareRequest } from "../driver.ts";
import { capabilitySets, containerCapabilities } from "../oci/spec/capabilities.ts";
import { processEnvironment } from "../oci/spec/environment.ts";
import { protectedPaths } from "../oci/spec/protected-paths.ts";
import { machineErrors } from "./errors.ts";

/** For what berth-vmm adds to a request of ours. */
const roomForMore = 4096;

/** A request goes to the agent in one frame: `MACHINE_UNSUPPORTED` for one that does not fit. */
export function requireRoom(fields: readonly Field[]): readonly Field[] {
  if (encodeFields(fields).length > maxPayload - roomForMore) {
    const what = "a command, an environment or files of the network of more than 60 KiB";
    throw machineErrors.MACHINE_UNSUPPORTED({ what, why: "they go to its agent in one piece" });
  }
  return fields;
}

/** The main process. */
export function mainProcessFields(request: PrepareRequest): readonly Field[] {
  const { process, security } = request.spec;
  const paths = protectedPaths(security);
  const { memory, pidsLimit } = request.spec.resources;
  const stdin = process.openStdin ? [flag("stdin")] : [];
  return [
    ...[...process.entrypoint, ...process.cmd].map((word): Field => ["arg", word]),
    ...environment(process.env, request.hostname, process.tty),
    ...keptFields(request),
    ["user", process.user],
    ["cwd", process.workingDir === "" ? "/" : process.workingDir],
    ...(process.tty ? [flag("tty"), ...sizeFields(request.terminal)] : []),
    ...stdin,
    ...(process.init ? [flag("init")] : []),
    ...limitFields({ memory, pidsLimit }).filter(([, value]) => value !== "0"),
    ...(security.privileged ? [flag("privileged")] : []),
    ...paths.readonly.map((path): Field => ["readonly", path]),
    ...paths.masked.map((path): Field => ["masked", path]),
  ];
}

/** Limits of the workload's control group in the guest; "0" is none. */
export function limitFields({ memory, pidsLimit }: Pick<ResourceSpec, "memory" | "pidsLimit">): readonly Field[] {
  return [
    ["memory", String(Math.max(0, memory))],
    ["pids", String(Math.max(0, pidsLimit))],
  ];
}

/** What the main process has, and a command beside it has too; with what such a command has unless it says otherwise. */
export function inheritedFields(request: PrepareRequest): [string, string][] {
  const { process } = request.spec;
  return [
    ...keptFields(request).map(([name, value]): [string, string] => [name, value]),
    ["user", process.user],
    ["cwd", process.workingDir === "" ? "/" : process.workingDir],
    ["hostname", request.hostname],
  ];
}

/** A command beside the main process, which was started with {@link inheritedFields}. */
export function execFields(request: ExecRequest, inherited: readonly Field[]): readonly Field[] {
  const own = new Map(inherited);
  const kept = inherited.filter(([name]) => !["user", "cwd", "hostname", "group", "capabilities"].includes(name));
  const capabilities = request.privileged ? allCapabilities : (own.get("capabilities") ?? allCapabilities);
  return [
    ["verb", "exec"],
    ...request.argv.map((word): Field => ["arg", word]),
    ...environment(request.env, own.get("hostname") ?? "", request.tty),
    ...kept,
    ...request.groupAdd.map((group): Field => ["group", group]),
    ["capabilities", capabilities],
    ["user", request.user === "" ? (own.get("user") ?? "") : request.user],
    ["cwd", request.workingDir === "" ? (own.get("cwd") ?? "/") : request.workingDir],
    ...(request.tty ? [flag("tty"), ...sizeFields(request.terminal)] : []),
    ...(request.stdin ? [flag("stdin")] : []),
    ...(request.detached ? [flag("detach")] : []),
  ];
}

const flag = (name: string): Field => [name, "1"];
/** Names are in the order of the kernel's numbers. */
const maskOf = (names: readonly string[]) =>
  capabilityNames
    .reduce((mask, name, bit) => (names.includes(`CAP_${name}`) ? mask | (1n << BigInt(bit)) : mask), 0n)
    .toString(16);
const allCapabilities = maskOf(capabilityNames.map((name) => `CAP_${name}`));

function keptFields({ spec }: PrepareRequest): readonly Field[] {
  const { security, ulimits, process } = spec;
  // The guest's kernel has them all: it is nobody else's.
  const { bounding } = capabilitySets(containerCapabilities(security, capabilityNames));
  return [
    ["capabilities", maskOf(bounding)],
    ...(security.noNewPrivileges ? [flag("nonewprivileges")] : []),
    ...process.groupAdd.map((group): Field => ["group", group]),
    ...ulimits.map(({ name, soft, hard }): Field => ["rlimit", `${name} ${soft} ${hard}`]),
    ...(spec.oomScoreAdj === 0 ? [] : [["oom", String(spec.oomScoreAdj)] as const]),
  ];
}

/** HOME is the agent's to say, which knows the user. */
function environment(env: readonly string[], hostname: string, tty: boolean): readonly Field[] {
  const stated = env.some((entry) => entry.startsWith("HOME="));
  return processEnvironment({ env, hostname, tty, home: "" }).flatMap((entry): Field[] =>
    entry === "HOME=" && !stated ? [] : [["env", entry]],
  );
}

function sizeFields(size: PrepareRequest["terminal"]): readonly Field[] {
  if (size === undefined || size.rows <= 0) return [];
  return [
    ["rows", String(size.rows)],
    ["columns", String(size.columns)],
  ];
}

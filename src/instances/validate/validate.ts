import type { InstanceRequest } from "../instance-service.ts";
import type { Healthcheck } from "../../schema/image.ts";
import type { InstanceSpec, RestartPolicy } from "../../schema/instance.ts";
import { probePlan } from "../health-state.ts";
import { validateRequestLabels } from "../request.ts";
import { signalNumber } from "../signals.ts";
import { invalid } from "./invalid.ts";
import { validateLog } from "./log.ts";
import { validateMounts } from "./mounts.ts";
import { type NamespaceTargets, validateNamespaces } from "./namespaces.ts";
import { type NetworkNames, validateNetwork } from "./network.ts";
import { type Machine, validateResources } from "./resources.ts";
import { validateSecurity } from "./security.ts";

/** What a request may name on this engine and this machine. */
export interface Surroundings extends NamespaceTargets, NetworkNames {
  readonly machine: Machine;
}

/** Checks every field before anything is changed. Throws `REQUEST_INVALID` in Docker's words; returns warnings. */
export async function validateRequest(request: InstanceRequest, around: Surroundings): Promise<readonly string[]> {
  validateProcess(request);
  validateHostname(request.hostname);
  const healthWarnings = validateHealthcheck(request.healthcheck);
  validateRestartPolicy(request.restartPolicy);
  if (request.autoRemove && request.restartPolicy.name !== "no") {
    throw invalid("can't create 'AutoRemove' container with restart policy");
  }
  if ("" in request.annotations) {
    throw invalid("invalid Annotations: the empty string is not permitted as an annotation key");
  }
  if (request.oomScoreAdj < -1000 || request.oomScoreAdj > 1000) {
    throw invalid(`Invalid value ${request.oomScoreAdj}, range for oom score adj is [-1000, 1000]`);
  }
  if (request.shmSize < 0) throw invalid("SHM size can not be less than 0");
  if (request.namespaces.ipc === "none" && request.shmSize > 0) {
    throw invalid("conflicting options: --shm-size has no effect with IPC mode none");
  }
  validateRequestLabels(request.labels);
  validateLog(request.log);
  validateNamespaces(request, around);
  const networkWarnings = validateNetwork(request, around);
  const resourceWarnings = validateResources(request.resources, around.machine, { update: false });
  await validateSecurity(request);
  await validateMounts(request.mounts);
  return [...healthWarnings, ...resourceWarnings, ...networkWarnings];
}

function validateProcess({ process, stopSignal, stopTimeout }: InstanceRequest): void {
  if (process.workingDir !== "" && !process.workingDir.startsWith("/")) {
    throw invalid(`the working directory '${process.workingDir}' is invalid, it needs to be an absolute path`);
  }
  for (const variable of process.env) {
    if (variable === "" || variable.startsWith("=")) throw invalid(`invalid environment variable: ${variable}`);
    if (variable.includes("\0")) throw invalid(`invalid environment variable: it holds a NUL byte`);
  }
  for (const word of [...(process.entrypoint ?? []), ...(process.cmd ?? [])]) {
    if (word.includes("\0")) throw invalid("invalid command: an argument holds a NUL byte");
  }
  if (/[\n\0]/.test(process.user)) throw invalid(`invalid user: "${process.user}"`);
  if (stopSignal !== "" && signalNumber(stopSignal) === undefined) throw invalid(`invalid signal: ${stopSignal}`);
  if (stopTimeout !== null && stopTimeout < -1) {
    throw invalid(`invalid stop timeout ${stopTimeout}: give seconds, or -1 to wait for ever`);
  }
}

function validateHostname(hostname: string): void {
  if (hostname.length > 64) throw invalid(`hostname "${hostname}" is too long (maximum 64 bytes)`);
  if (/[\s\0/]/.test(hostname)) throw invalid(`invalid hostname format: ${hostname}`);
}

/** Docker's least duration of a health check: one millisecond, in nanoseconds. */
const leastDurationNs = 1_000_000;

/** Returns warnings: Docker takes a test of a kind that it does not know, and never runs it. */
export function validateHealthcheck(check: Healthcheck | null): readonly string[] {
  if (check === null) return [];
  const kind = check.Test?.[0];
  if ((kind === "CMD" || kind === "CMD-SHELL") && (check.Test?.length ?? 0) < 2) {
    throw invalid(`Missing command after ${kind} in Healthcheck`);
  }
  for (const field of ["Interval", "Timeout", "StartPeriod", "StartInterval"] as const) {
    const value = check[field] ?? 0;
    if (value !== 0 && value < leastDurationNs) throw invalid(`${field} in Healthcheck cannot be less than 1ms`);
  }
  if ((check.Retries ?? 0) < 0) throw invalid("Retries in Healthcheck cannot be negative");
  const known = [undefined, "", "NONE", "CMD", "CMD-SHELL"];
  return known.includes(kind)
    ? []
    : [`Health check "${kind}" is never run: it begins with none of NONE, CMD, CMD-SHELL`];
}

export function validateRestartPolicy(policy: RestartPolicy): void {
  if (policy.maximumRetryCount < 0) {
    throw invalid("invalid restart policy: maximum retry count cannot be negative");
  }
  if (policy.name !== "on-failure" && policy.name !== "unhealthy" && policy.maximumRetryCount !== 0) {
    throw invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'");
  }
}

/** Nothing would ever find it unhealthy. */
export function requireProbe(policy: RestartPolicy, spec: InstanceSpec): void {
  if (policy.name !== "unhealthy" || probePlan(spec) !== undefined) return;
  throw invalid(
    "invalid restart policy: 'unhealthy' needs a health check: give one with --health-cmd, or HEALTHCHECK in the image",
  );
}

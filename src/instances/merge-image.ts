import type { Healthcheck, ImageRunConfig } from "../schema/image.ts";
import type { InstanceSpec, MountSpec } from "../schema/instance.ts";
import { mergeEnvironment } from "./environment.ts";
import type { InstanceRequest } from "./instance-service.ts";
import { normaliseTarget } from "./validate/mounts.ts";

/** The whole spec: what the request leaves open is the image's, by Docker's rules. Pure. */
export function mergeImage(request: InstanceRequest, image: ImageRunConfig): InstanceSpec {
  const { platform: _platform, rootfsChainId: _chain, secretEnv: _secret, furnish: _furnish, ...rest } = request;
  return {
    ...rest,
    process: {
      ...request.process,
      ...mergeCommand(request, image),
      env: [...mergeEnv(request.process.env, image.Env ?? [])],
      user: request.process.user === "" ? (image.User ?? "") : request.process.user,
      workingDir: request.process.workingDir === "" ? (image.WorkingDir ?? "") : request.process.workingDir,
    },
    labels: { ...image.Labels, ...request.labels },
    stopSignal: request.stopSignal === "" ? (image.StopSignal ?? "") : request.stopSignal,
    healthcheck: mergeHealthcheck(request.healthcheck, image.Healthcheck),
    network: {
      ...request.network,
      exposedPorts: [...new Set([...request.network.exposedPorts, ...Object.keys(image.ExposedPorts ?? {})])].sort(),
    },
    mounts: [...request.mounts, ...imageVolumes(request.mounts, Object.keys(image.Volumes ?? {}))],
  };
}

function mergeCommand(
  { process }: InstanceRequest,
  image: ImageRunConfig,
): { readonly entrypoint: string[]; readonly cmd: string[] } {
  if (process.entrypoint !== null) return { entrypoint: [...process.entrypoint], cmd: [...(process.cmd ?? [])] };
  const cmd = process.cmd === null || process.cmd.length === 0 ? (image.Cmd ?? []) : process.cmd;
  return { entrypoint: [...(image.Entrypoint ?? [])], cmd: [...cmd] };
}

/** The request's variables first, then those of the image that it does not name; a bare NAME stays, to take the variable away. */
function mergeEnv(request: readonly string[], image: readonly string[]): readonly string[] {
  const named = new Map(request.map((variable) => [variable.split("=", 1)[0], variable]));
  const inherited = image.filter((variable) => !named.has(variable.split("=", 1)[0]));
  return [...named.values(), ...mergeEnvironment([], inherited)];
}

export function mergeHealthcheck(
  request: Healthcheck | null | undefined,
  image: Healthcheck | null | undefined,
): Healthcheck | null {
  if (request === null || request === undefined) return image ?? null;
  if (image === null || image === undefined) return request;
  const test = request.Test === undefined || request.Test.length === 0 ? image.Test : request.Test;
  const merged: Healthcheck = test === undefined ? {} : { Test: test };
  for (const field of ["Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"] as const) {
    const value = request[field] === undefined || request[field] === 0 ? image[field] : request[field];
    if (value !== undefined) merged[field] = value;
  }
  return merged;
}

/** An anonymous volume for each VOLUME of the image where the request mounts nothing itself. */
function imageVolumes(mounts: readonly MountSpec[], paths: readonly string[]): readonly MountSpec[] {
  const taken = new Set(mounts.map((mount) => normaliseTarget(mount.type, mount.target)));
  const targets = new Set(paths.map((path) => normaliseTarget("volume", path)));
  return [...targets]
    .filter((target) => !taken.has(target))
    .sort()
    .map((target) => ({ type: "volume", name: "", target, readOnly: false, noCopy: false, anonymous: true }));
}

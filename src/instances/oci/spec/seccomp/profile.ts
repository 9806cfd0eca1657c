import { messageOf } from "../../../../base/errors.ts";
import { ociErrors } from "../../errors.ts";
import type { OciSeccomp, OciSyscallArgument, OciSyscallRule } from "../oci-spec.ts";
import { defaultArchitectures, defaultRules } from "./default-rules.ts";
import { type DockerFilter, type DockerProfile, parseDockerProfile } from "./docker-profile.ts";

/** The machine that a filter is for. */
export interface SeccompHost {
  /** GOARCH: "amd64", "arm64". */
  readonly architecture: string;
  /** "6.1.0-18-amd64". */
  readonly kernelRelease: string;
}

/** A rule of the built-in profile: it lets `names` through, when its conditions hold. */
export interface SeccompRule {
  readonly names: readonly string[];
  readonly args?: readonly OciSyscallArgument[];
  /** SCMP_ACT_ALLOW unless stated. */
  readonly action?: string;
  readonly errno?: number;
  /** A capability, with "CAP_", that the container has or has not. */
  readonly needs?: string;
  readonly lacks?: string;
  readonly machines?: readonly string[];
  readonly notMachines?: readonly string[];
  readonly minKernel?: readonly [number, number];
}

/**
 * The filter for a container with the bounding set `capabilities` (with "CAP_"). `profile` is "default", "unconfined"
 * (undefined: no filter), or JSON text in Docker's format (`SECCOMP_INVALID`).
 */
export function resolveSeccomp(
  profile: string,
  host: SeccompHost,
  capabilities: readonly string[],
): OciSeccomp | undefined {
  if (profile === "unconfined") return undefined;
  if (profile === "default" || profile === "" || profile === "builtin") return builtIn(host, capabilities);
  try {
    return fromDocker(parseDockerProfile(profile), host, capabilities);
  } catch (error) {
    throw ociErrors.SECCOMP_INVALID({ reason: messageOf(error) }, { cause: error });
  }
}

function builtIn(host: SeccompHost, capabilities: readonly string[]): OciSeccomp {
  const holds = (rule: SeccompRule) =>
    (rule.needs === undefined || capabilities.includes(rule.needs)) &&
    (rule.lacks === undefined || !capabilities.includes(rule.lacks)) &&
    (rule.machines === undefined || rule.machines.includes(host.architecture)) &&
    !(rule.notMachines ?? []).includes(host.architecture) &&
    (rule.minKernel === undefined || isKernelAtLeast(host.kernelRelease, rule.minKernel));
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: 1,
    architectures: defaultArchitectures[host.architecture] ?? [],
    syscalls: defaultRules.filter(holds).map((rule) => ({
      names: rule.names,
      action: rule.action ?? "SCMP_ACT_ALLOW",
      ...(rule.errno === undefined ? {} : { errnoRet: rule.errno }),
      ...(rule.args === undefined ? {} : { args: rule.args }),
    })),
  };
}

function fromDocker(
  profile: DockerProfile,
  host: SeccompHost,
  capabilities: readonly string[],
): OciSeccomp | undefined {
  if (profile.defaultAction === "" && profile.syscalls.length === 0) return undefined;
  const native = defaultArchitectures[host.architecture]?.[0];
  const mapped = profile.archMap.find((entry) => entry.architecture === native);
  const architectures =
    mapped === undefined ? profile.architectures : [mapped.architecture, ...mapped.subArchitectures];
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    ...(architectures.length === 0 ? {} : { architectures }),
    ...(profile.flags === undefined ? {} : { flags: profile.flags }),
    ...(profile.listenerPath === undefined ? {} : { listenerPath: profile.listenerPath }),
    ...(profile.listenerMetadata === undefined ? {} : { listenerMetadata: profile.listenerMetadata }),
    syscalls: profile.syscalls
      .filter((rule) => !excludes(rule.excludes, host, capabilities) && includes(rule.includes, host, capabilities))
      .map(
        ({ names, action, errnoRet, args }): OciSyscallRule => ({
          names,
          action,
          ...(errnoRet === undefined ? {} : { errnoRet }),
          ...(args.length === 0 ? {} : { args }),
        }),
      ),
  };
}

/** Any of the conditions leaves the rule out. */
function excludes(filter: DockerFilter, host: SeccompHost, capabilities: readonly string[]): boolean {
  return (
    filter.arches.includes(host.architecture) ||
    filter.caps.some((name) => capabilities.includes(name)) ||
    (filter.minKernel !== undefined && isKernelAtLeast(host.kernelRelease, filter.minKernel))
  );
}

/** All of the conditions have to hold. */
function includes(filter: DockerFilter, host: SeccompHost, capabilities: readonly string[]): boolean {
  return (
    (filter.arches.length === 0 || filter.arches.includes(host.architecture)) &&
    filter.caps.every((name) => capabilities.includes(name)) &&
    (filter.minKernel === undefined || isKernelAtLeast(host.kernelRelease, filter.minKernel))
  );
}

function isKernelAtLeast(release: string, [major, minor]: readonly [number, number]): boolean {
  const [ownMajor = 0, ownMinor = 0] = release.split(/[.-]/).map(Number);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}

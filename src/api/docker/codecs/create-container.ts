/** `POST /containers/create`: Docker's ContainerConfig, HostConfig and NetworkingConfig to an {@link InstanceRequest}. */
import { parsePlatform } from "../../../images/platform.ts";
import type { InstanceRequest } from "../../../instances/instance-service.ts";
import type { CreateContainerBody, DockerContainerConfig, DockerHostConfig } from "../../../schema/docker/container.ts";
import type { Healthcheck } from "../../../schema/image.ts";
import type { DeviceSpec, InstanceSpec, RestartPolicy, Ulimit } from "../../../schema/instance.ts";
import { unlimited } from "../../../schema/resources.ts";
import type { DockerBackend } from "../backend.ts";
import { apiErrors } from "../errors.ts";
import { networkSpec } from "./container-network.ts";
import { mountSpecs } from "./mounts.ts";
import { resourceChanges } from "./resources.ts";
import { securitySpec } from "./security.ts";
import { machineRuntime, refuseUnsupported, volumeDriverMissing } from "./unsupported.ts";

type Names = Pick<DockerBackend, "instances" | "networks" | "images" | "system">;

/**
 * Decodes the shape and refuses what Berth has nothing for; that values make sense is checked by the instance service.
 * Names of other containers are resolved here, so that a later rename changes nothing.
 */
export function instanceRequest(
  body: CreateContainerBody,
  query: { readonly name: string; readonly platform: string },
  backend: Names,
): InstanceRequest {
  const host = body.HostConfig ?? {};
  refuseUnsupported(host, body, backend.system.facts);
  refuseVolumeDriver(body, backend);
  const platform = platformOf(query.platform, backend);
  return {
    isolation: host.Runtime === machineRuntime ? "vm" : "container",
    // Docker's own leading slash; any other is part of a wrong name, which the refusal shows as it was given.
    name: query.name.replace(/^\/(?=[^/]*$)/, ""),
    image: body.Image ?? "",
    process: processSpec(body, host, backend),
    hostname: body.Hostname ?? "",
    domainname: body.Domainname ?? "",
    labels: body.Labels ?? {},
    annotations: host.Annotations ?? {},
    mounts: mountSpecs(body, backend),
    devices: devices(host),
    deviceCgroupRules: host.DeviceCgroupRules ?? [],
    security: securitySpec(host),
    namespaces: {
      pid: joined(host.PidMode ?? "", backend),
      ipc: joined(host.IpcMode ?? "", backend),
      uts: host.UTSMode ?? "",
      cgroup: host.CgroupnsMode ?? "",
      user: host.UsernsMode ?? "",
    },
    sysctls: host.Sysctls ?? {},
    shmSize: host.ShmSize ?? 0,
    ulimits: [...ulimits(host)],
    oomScoreAdj: host.OomScoreAdj ?? 0,
    resources: { ...unlimited, ...resourceChanges(host) },
    network: networkSpec(body, backend),
    restartPolicy: restartPolicy(host.RestartPolicy),
    autoRemove: host.AutoRemove ?? false,
    stopSignal: body.StopSignal ?? "",
    stopTimeout: body.StopTimeout ?? null,
    healthcheck: healthcheck(body.Healthcheck),
    log: logSpec(host),
    internal: false,
    passthrough: passthrough(body, host),
    ...(platform === undefined ? {} : { platform }),
  };
}

/** Docker asks for a volume's driver only when it makes a volume. */
function refuseVolumeDriver(body: CreateContainerBody, { images }: Names): void {
  const { VolumeDriver: driver, Binds } = body.HostConfig ?? {};
  if (!driver || driver === "local") return;
  const ofImage = images.resolve(body.Image ?? "").config.config?.Volumes ?? {};
  const makesVolumes =
    Object.keys(body.Volumes ?? {}).length > 0 ||
    Object.keys(ofImage).length > 0 ||
    (Binds ?? []).some((bind) => !bind.startsWith("/"));
  if (makesVolumes) throw volumeDriverMissing(driver);
}

export function ulimits({ Ulimits }: Pick<DockerHostConfig, "Ulimits">): readonly Ulimit[] {
  return (Ulimits ?? []).map(({ Name, Soft, Hard }) => ({ name: Name, soft: Soft, hard: Hard }));
}

/** Docker's policy names and `unhealthy`; "" is "no". */
export function restartPolicy(policy: DockerHostConfig["RestartPolicy"]): RestartPolicy {
  const name = policy?.Name ?? "";
  const maximumRetryCount = policy?.MaximumRetryCount ?? 0;
  switch (name) {
    case "":
    case "no":
      return { name: "no", maximumRetryCount };
    case "always":
    case "on-failure":
    case "unless-stopped":
    case "unhealthy":
      return { name, maximumRetryCount };
    default:
      throw apiErrors.API_BAD_REQUEST({
        message: `invalid restart policy: unknown policy '${name}'; use one of 'no', 'always', 'on-failure', 'unless-stopped', or 'unhealthy'`,
      });
  }
}

/** null and absent members are left out, so that they inherit. */
export function healthcheck(check: DockerContainerConfig["Healthcheck"]): Healthcheck | null {
  if (check === null || check === undefined) return null;
  const { Test, Interval, Timeout, StartPeriod, StartInterval, Retries } = check;
  const stated: Healthcheck = {
    ...(Test ? { Test } : {}),
    ...(Interval ? { Interval } : {}),
    ...(Timeout ? { Timeout } : {}),
    ...(StartPeriod ? { StartPeriod } : {}),
    ...(StartInterval ? { StartInterval } : {}),
    ...(Retries ? { Retries } : {}),
  };
  return Object.keys(stated).length === 0 ? null : stated;
}

/** "linux/arm64"; missing parts are this machine's. */
export function platformOf(text: string, { system }: Pick<DockerBackend, "system">) {
  return text === "" ? undefined : parsePlatform(text, { os: "linux", architecture: system.facts.architecture });
}

function processSpec(body: CreateContainerBody, host: DockerHostConfig, backend: Names): InstanceRequest["process"] {
  const entrypoint = words(body.Entrypoint);
  // One empty word is how `--entrypoint ""` arrives.
  const cleared = entrypoint?.length === 1 && entrypoint[0] === "";
  const given = words(body.Cmd);
  return {
    entrypoint: cleared ? [] : entrypoint,
    cmd: given === null || given.length === 0 ? inheritedCmd(body, entrypoint, backend) : given,
    env: body.Env ?? [],
    user: body.User ?? "",
    groupAdd: host.GroupAdd ?? [],
    workingDir: body.WorkingDir ?? "",
    tty: body.Tty ?? false,
    openStdin: body.OpenStdin ?? false,
    stdinOnce: body.StdinOnce ?? false,
    init: host.Init ?? false,
  };
}

/** An empty list as entry point clears the image's, but, unlike a command of its own, keeps the image's Cmd. */
function inheritedCmd(
  body: CreateContainerBody,
  entrypoint: readonly string[] | null,
  { images }: Names,
): readonly string[] | null {
  if (entrypoint === null || entrypoint.length > 0) return null;
  return images.resolve(body.Image ?? "").config.config?.Cmd ?? [];
}

function words(value: readonly string[] | string | null | undefined): readonly string[] | null {
  if (value === null || value === undefined) return null;
  return typeof value === "string" ? [value] : value;
}

function joined(mode: string, { instances }: Names): string {
  const name = /^container:(.+)$/.exec(mode)?.[1];
  return name === undefined ? mode : `container:${instances.resolve(name).id}`;
}

function devices(host: DockerHostConfig): DeviceSpec[] {
  return (host.Devices ?? []).map((device) => {
    const pathOnHost = device.PathOnHost ?? "";
    return {
      pathOnHost,
      pathInContainer: device.PathInContainer || pathOnHost,
      permissions: device.CgroupPermissions || "rwm",
    };
  });
}

function logSpec(host: DockerHostConfig): InstanceSpec["log"] {
  const driver = host.LogConfig?.Type || "json-file";
  const options = host.LogConfig?.Config ?? {};
  switch (driver) {
    case "json-file":
    case "local":
    case "none":
      return { driver, options };
    default:
      throw apiErrors.API_BAD_REQUEST({ message: `logger: no log driver named '${driver}' is registered` });
  }
}

/** Kept for `inspect` as the client sent them: they say nothing that the spec does not, or matter to the client only. */
const keptConfig = ["AttachStdin", "AttachStdout", "AttachStderr", "OnBuild", "Shell", "MacAddress"] as const;
const keptHostConfig = [
  "Binds",
  "Mounts",
  "VolumesFrom",
  "VolumeDriver",
  "PortBindings",
  "Links",
  "SecurityOpt",
  "ContainerIDFile",
  "ConsoleSize",
  "Init",
  "Isolation",
  "CapAdd",
  "CapDrop",
  "PidsLimit",
] as const;

function passthrough(body: CreateContainerBody, host: DockerHostConfig): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const name of keptConfig) if (isStated(body[name])) kept[`Config.${name}`] = body[name];
  for (const name of keptHostConfig) if (isStated(host[name])) kept[`HostConfig.${name}`] = host[name];
  return kept;
}

const isStated = (value: unknown) => value !== undefined && value !== null && value !== "" && value !== false;

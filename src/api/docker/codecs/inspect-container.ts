/** `GET /containers/{id}/json`: an {@link InstanceRecord} as Docker's ContainerJSON. */
import type { InstanceRecord, InstanceState } from "../../../schema/instance.ts";
import type { DockerBackend } from "../backend.ts";
import { hostConfigJson } from "./host-config-json.ts";
import { mountPoints } from "./mount-points.ts";
import { networkSettings, portMap } from "./network-settings.ts";
import { dockerTime } from "./timestamps.ts";

export type Sizes = { readonly rw: number; readonly rootFs: number };

export function inspectContainer(record: InstanceRecord, backend: DockerBackend, sizes?: Sizes): object {
  const { spec, state } = record;
  const paths = backend.system.pathsOf(record);
  const execIds = backend.instances.execIds(record.id);
  const command = [...spec.process.entrypoint, ...spec.process.cmd];
  return {
    Id: record.id,
    Created: record.createdAt,
    Path: command[0] ?? "",
    Args: command.slice(1),
    State: stateJson(state),
    Image: record.imageId,
    ResolvConfPath: paths.resolvConfPath,
    HostnamePath: paths.hostnamePath,
    HostsPath: paths.hostsPath,
    LogPath: paths.logPath,
    Name: `/${record.name}`,
    RestartCount: state.restartCount,
    Driver: backend.system.facts.storageDriver,
    Platform: "linux",
    MountLabel: "",
    ProcessLabel: "",
    AppArmorProfile: "",
    ExecIDs: execIds.length === 0 ? null : execIds,
    HostConfig: hostConfigJson(record, backend.system.facts),
    GraphDriver: { Data: paths.graphDriver.data, Name: paths.graphDriver.name },
    ...(sizes === undefined ? {} : { SizeRw: sizes.rw, SizeRootFs: sizes.rootFs }),
    Mounts: mountPoints(record, backend.volumes),
    Config: configJson(record),
    NetworkSettings: {
      Bridge: "",
      SandboxID: paths.sandboxKey === "" ? "" : record.id,
      SandboxKey: paths.sandboxKey,
      Ports: portMap(record),
      HairpinMode: false,
      LinkLocalIPv6Address: "",
      LinkLocalIPv6PrefixLen: 0,
      SecondaryIPAddresses: null,
      SecondaryIPv6Addresses: null,
      ...networkSettings(record, backend.networks),
    },
  };
}

/** Docker's flags beside its status. A paused or restarting container counts as running. */
function stateJson(state: InstanceState): object {
  const { status, health } = state;
  return {
    Status: status,
    Running: status === "running" || status === "paused" || status === "restarting",
    Paused: status === "paused",
    Restarting: status === "restarting",
    OOMKilled: state.oomKilled,
    Dead: status === "dead",
    Pid: state.pid,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: dockerTime(state.startedAt),
    FinishedAt: dockerTime(state.finishedAt),
    ...(health === null
      ? {}
      : {
          Health: {
            Status: health.status,
            FailingStreak: health.failingStreak,
            Log: health.log.map((probe) => ({
              Start: probe.start,
              End: probe.end,
              ExitCode: probe.exitCode,
              Output: probe.output,
            })),
          },
        }),
  };
}

function configJson(record: InstanceRecord): object {
  const { spec } = record;
  const kept = (name: string) => spec.passthrough[`Config.${name}`];
  const { process } = spec;
  const anonymous = spec.mounts.flatMap((mount) => (mount.type === "volume" && mount.anonymous ? [mount.target] : []));
  return {
    Hostname: spec.hostname === "" ? record.id.slice(0, 12) : spec.hostname,
    Domainname: spec.domainname,
    User: process.user,
    AttachStdin: kept("AttachStdin") ?? false,
    AttachStdout: kept("AttachStdout") ?? false,
    AttachStderr: kept("AttachStderr") ?? false,
    ...(spec.network.exposedPorts.length === 0 ? {} : { ExposedPorts: keySet(spec.network.exposedPorts) }),
    Tty: process.tty,
    OpenStdin: process.openStdin,
    StdinOnce: process.stdinOnce,
    Env: process.env,
    Cmd: process.cmd.length === 0 ? null : process.cmd,
    ...(spec.healthcheck === null ? {} : { Healthcheck: spec.healthcheck }),
    Image: spec.image,
    Volumes: anonymous.length === 0 ? null : keySet(anonymous),
    WorkingDir: process.workingDir,
    Entrypoint: process.entrypoint.length === 0 ? null : process.entrypoint,
    ...(kept("MacAddress") === undefined ? {} : { MacAddress: kept("MacAddress") }),
    OnBuild: kept("OnBuild") ?? null,
    Labels: spec.labels,
    ...(spec.stopSignal === "" ? {} : { StopSignal: spec.stopSignal }),
    ...(spec.stopTimeout === null ? {} : { StopTimeout: spec.stopTimeout }),
    ...(kept("Shell") === undefined ? {} : { Shell: kept("Shell") }),
  };
}

export function keySet(keys: readonly string[]): Record<string, object> {
  return Object.fromEntries(keys.map((key) => [key, {}]));
}

/** `GET /info` and `GET /version`. */
import { mirrorsOf } from "../../../images/registry/mirrors.ts";
import type { InstanceRecord } from "../../../schema/instance.ts";
import { type ApiVersion, maximumApiVersion, minimumApiVersion } from "../api-version.ts";
import type { SystemFacts, SystemInfo } from "../backend.ts";
import { machineRuntime } from "./unsupported.ts";

export interface Counts {
  readonly instances: readonly InstanceRecord[];
  readonly images: number;
}

export function infoJson(facts: SystemFacts, info: SystemInfo, counts: Counts, version: ApiVersion): object {
  const count = (...statuses: readonly string[]) =>
    counts.instances.filter(({ state }) => statuses.includes(state.status)).length;
  const { limits } = info;
  return {
    ID: facts.id,
    Containers: counts.instances.length,
    ContainersRunning: count("running", "restarting"),
    ContainersPaused: count("paused"),
    ContainersStopped: count("created", "exited", "dead", "removing"),
    Images: counts.images,
    Driver: facts.storageDriver,
    DriverStatus: info.storageStatus,
    Plugins: {
      Volume: ["local"],
      Network: ["bridge", "host", "null"],
      Authorization: null,
      Log: ["json-file", "local", "none"],
    },
    MemoryLimit: limits.memory,
    SwapLimit: limits.swap,
    CpuCfsPeriod: limits.cpuCfs,
    CpuCfsQuota: limits.cpuCfs,
    CPUShares: limits.cpuShares,
    CPUSet: limits.cpuset,
    PidsLimit: limits.pids,
    IPv4Forwarding: info.ipv4Forwarding,
    Debug: info.debug,
    NFd: info.openFiles,
    OomKillDisable: limits.oomKillDisable,
    NGoroutines: 0,
    SystemTime: new Date().toISOString(),
    LoggingDriver: "json-file",
    CgroupDriver: "cgroupfs",
    CgroupVersion: String(facts.cgroupVersion),
    NEventsListener: 0,
    KernelVersion: facts.kernelRelease,
    OperatingSystem: info.operatingSystem,
    OSVersion: "",
    OSType: "linux",
    Architecture: facts.machine,
    IndexServerAddress: "https://index.docker.io/v1/",
    RegistryConfig: registryJson(info),
    NCPU: facts.cpus,
    MemTotal: facts.memoryBytes,
    GenericResources: null,
    DockerRootDir: info.dataRoot,
    HttpProxy: info.httpProxy,
    HttpsProxy: info.httpsProxy,
    NoProxy: info.noProxy,
    Name: info.hostname,
    Labels: [],
    ExperimentalBuild: false,
    ServerVersion: facts.version,
    Runtimes: { [facts.runtime]: { path: facts.runtime }, [machineRuntime]: { path: "berth-vmm" } },
    DefaultRuntime: facts.runtime,
    Swarm: {
      NodeID: "",
      NodeAddr: "",
      LocalNodeState: "inactive",
      ControlAvailable: false,
      Error: "",
      RemoteManagers: null,
    },
    LiveRestoreEnabled: true,
    Isolation: "",
    InitBinary: "berth-init",
    ContainerdCommit: commit("", version),
    RuncCommit: commit(facts.components[facts.runtime] ?? "", version),
    InitCommit: commit("", version),
    SecurityOptions: info.securityOptions,
    DefaultAddressPools: info.addressPools.map(({ base, size }) => ({ Base: base, Size: size })),
    ...(version.atLeast(49) ? { FirewallBackend: { Driver: info.firewall } } : {}),
    ...(version.atLeast(50) ? {} : { BridgeNfIptables: false, BridgeNfIp6tables: false }),
    CDISpecDirs: [],
    Warnings: info.warnings.length === 0 ? null : info.warnings,
  };
}

export function versionJson(facts: SystemFacts): object {
  const details = {
    ApiVersion: maximumApiVersion,
    Arch: facts.architecture,
    BuildTime: facts.buildTime,
    Experimental: "false",
    GitCommit: facts.gitCommit,
    GoVersion: `node ${process.version}`,
    KernelVersion: facts.kernelRelease,
    MinAPIVersion: minimumApiVersion,
    Os: "linux",
  };
  return {
    Platform: { Name: "Berth" },
    Components: [
      { Name: "Engine", Version: facts.version, Details: details },
      ...Object.entries(facts.components).map(([Name, Version]) => ({ Name, Version, Details: { GitCommit: "" } })),
    ],
    Version: facts.version,
    ApiVersion: maximumApiVersion,
    MinAPIVersion: minimumApiVersion,
    GitCommit: facts.gitCommit,
    GoVersion: details.GoVersion,
    Os: "linux",
    Arch: facts.architecture,
    KernelVersion: facts.kernelRelease,
    BuildTime: facts.buildTime,
  };
}

function registryJson(info: SystemInfo): object {
  const isCidr = (entry: string) => entry.includes("/");
  const hosts = info.insecureRegistries.filter((entry) => !isCidr(entry));
  const mirrors = mirrorsOf("docker.io", info.registryMirrors);
  const index = (name: string, secure: boolean) => ({
    Mirrors: mirrorsOf(name, info.registryMirrors),
    Name: name,
    Official: name === "docker.io",
    Secure: secure,
  });
  return {
    IndexConfigs: Object.fromEntries([
      ["docker.io", index("docker.io", true)],
      ...hosts.map((host) => [host, index(host, false)] as const),
    ]),
    InsecureRegistryCIDRs: info.insecureRegistries.filter(isCidr),
    Mirrors: mirrors.length === 0 ? null : mirrors,
  };
}

function commit(id: string, version: ApiVersion): object {
  return version.atLeast(49) ? { ID: id } : { ID: id, Expected: id };
}

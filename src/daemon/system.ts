/** The engine and its machine as the API shows them: `docker info`, `version`, where things are. */
import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type {
  CpuClock,
  EngineInfo,
  InstancePaths,
  MachineTemplates,
  SupportedLimits,
  SystemBackend,
  SystemFacts,
  SystemInfo,
} from "../api/docker/backend.ts";
import type { OpContext } from "../base/op-context.ts";
import { projectRoot } from "../base/project-root.ts";
import { berthVersion } from "../base/version.ts";
import type { Host } from "../host/host.ts";
import type { DriverFingerprint } from "../instances/driver.ts";
import { logPath } from "../instances/parts.ts";
import type { NetworkService } from "../network/network-service.ts";
import type { CapacityReport } from "../schema/capacity.ts";
import type { EngineConfig } from "../schema/config.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import { type CapacityOptions, type CapacityParts, reportCapacity } from "./capacity.ts";
import type { EnginePaths } from "./engine-paths.ts";

export interface SystemParts {
  readonly config: EngineConfig;
  readonly paths: EnginePaths;
  readonly host: Host;
  readonly networks: NetworkService;
  readonly fingerprint: DriverFingerprint;
  /** Of the driver of virtual machines: asked when somebody wants to know, as it takes up to 300 ms once a boot of the host. */
  readonly machines: (ctx: OpContext) => Promise<DriverFingerprint>;
  readonly machinePool: EngineInfo["machinePool"];
  readonly machineTemplates: MachineTemplates;
  readonly capacity: CapacityParts;
  /** Of the root file systems, in Docker's words. */
  readonly storageDriver: string;
}

export class System implements SystemBackend {
  readonly facts: SystemFacts;
  readonly machineTemplates: MachineTemplates;
  readonly #parts: SystemParts;

  constructor(parts: SystemParts) {
    this.#parts = parts;
    this.facts = systemFacts(parts);
    this.machineTemplates = parts.machineTemplates;
  }

  async info(_ctx: OpContext): Promise<SystemInfo> {
    const { config, paths, host, fingerprint } = this.#parts;
    const forwarding = await readSysctl("net/ipv4/ip_forward");
    return {
      hostname: host.facts.hostname,
      operatingSystem: host.facts.osName,
      dataRoot: paths.dataRoot,
      debug: config.logLevel === "debug",
      storageStatus: [["Backing Filesystem", await fileSystemOf(host, paths.dataRoot)]],
      securityOptions: ["name=seccomp,profile=builtin", ...(host.cgroups.mode === "v2" ? ["name=cgroupns"] : [])],
      ipv4Forwarding: forwarding === "1",
      limits: supportedLimits(host),
      registryMirrors: config.registryMirrors,
      insecureRegistries: ["127.0.0.0/8", "::1/128", ...config.insecureRegistries],
      addressPools: config.addressPools,
      firewall: `nftables table inet berth_${paths.tag}`,
      warnings: [...(fingerprint.available ? [] : fingerprint.reasons)].map((reason) => `WARNING: ${reason}`),
      httpProxy: process.env["HTTP_PROXY"] ?? process.env["http_proxy"] ?? "",
      httpsProxy: process.env["HTTPS_PROXY"] ?? process.env["https_proxy"] ?? "",
      noProxy: process.env["NO_PROXY"] ?? process.env["no_proxy"] ?? "",
      openFiles: (await readdir("/proc/self/fd")).length,
    };
  }

  pathsOf(record: InstanceRecord): InstancePaths {
    const { paths, networks, storageDriver } = this.#parts;
    const sandbox = networks.sandbox(record.id);
    const snapshot = join(paths.dataRoot, "snapshots", "active", record.id);
    return {
      logPath: record.spec.log.driver === "none" ? "" : logPath(paths, record.id),
      graphDriver: {
        name: storageDriver,
        data: {
          MergedDir: join(snapshot, "merged"),
          UpperDir: join(snapshot, "upper"),
          WorkDir: join(snapshot, "work"),
        },
      },
      hostnamePath: sandbox?.hostnamePath ?? "",
      hostsPath: sandbox?.hostsPath ?? "",
      resolvConfPath: sandbox?.resolvConfPath ?? "",
      sandboxKey: sandbox?.netnsPath ?? "",
    };
  }

  /** From the first line of /proc/stat (proc_stat(5)): user hertz are hundredths of a second on every Linux we run on. */
  async cpuClock(): Promise<CpuClock> {
    const [first = ""] = (await readFile("/proc/stat", "utf8")).split("\n", 1);
    const ticks = first
      .trim()
      .split(/\s+/)
      .slice(1, 9)
      .reduce((sum, field) => sum + Number(field), 0);
    return { totalNs: ticks * 10_000_000, online: this.#parts.host.facts.cpus };
  }

  async capacity(ctx: OpContext, options: CapacityOptions): Promise<CapacityReport> {
    return await reportCapacity(this.#parts.capacity, ctx, options);
  }

  async engineInfo(ctx: OpContext): Promise<EngineInfo> {
    const { config, paths, host, fingerprint } = this.#parts;
    return {
      tag: paths.tag,
      paths: { dataRoot: paths.dataRoot, runRoot: paths.runRoot },
      runtime: fingerprint,
      machines: await this.#parts.machines(ctx),
      machinePool: { size: this.#parts.machinePool.size, waiting: this.#parts.machinePool.waiting },
      cgroupMode: host.cgroups.mode,
      config,
    };
  }
}

function systemFacts({ host, paths, fingerprint, storageDriver }: SystemParts): SystemFacts {
  return {
    id: `berth-${paths.tag}`,
    version: berthVersion(),
    gitCommit: gitCommit(),
    buildTime: "",
    kernelRelease: host.facts.kernelRelease,
    architecture: host.facts.architecture,
    machine: host.facts.machine,
    cpus: host.facts.cpus,
    memoryBytes: host.facts.memoryBytes,
    runtime: fingerprint.runtime,
    components: { ...fingerprint.versions, node: process.version.replace(/^v/, "") },
    storageDriver,
    cgroupVersion: host.cgroups.mode === "v2" ? 2 : 1,
  };
}

function supportedLimits({ cgroups: { features } }: Host): SupportedLimits {
  return {
    memory: features.memoryLimit,
    swap: features.swapLimit,
    oomKillDisable: features.oomKillDisable,
    cpuCfs: features.cpuQuota,
    cpuShares: features.cpuShares,
    cpuset: features.cpuset,
    pids: features.pidsLimit,
    blkio: features.blkioThrottle,
  };
}

/** Type of the file system that holds `path`: that of the innermost mount around it. */
async function fileSystemOf(host: Host, path: string): Promise<string> {
  const around = (await host.kernel.mounts("/")).filter(
    ({ target }) => target === "/" || path === target || path.startsWith(`${target}/`),
  );
  return around.toSorted((a, b) => a.target.length - b.target.length).at(-1)?.fstype ?? "unknown";
}

async function readSysctl(path: string): Promise<string> {
  return (await readFile(`/proc/sys/${path}`, "utf8")).trim();
}

/** Of the checkout that we run from; "unknown" for an installed package. */
function gitCommit(): string {
  try {
    const git = new URL(".git/", projectRoot());
    const head = readFileSync(new URL("HEAD", git), "utf8").trim();
    const ref = /^ref: (.+)$/.exec(head)?.[1];
    return (ref === undefined ? head : readFileSync(new URL(ref, git), "utf8").trim()).slice(0, 12);
  } catch {
    return "unknown";
  }
}

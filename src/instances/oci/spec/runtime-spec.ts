import type { InstanceSpec } from "../../../schema/instance.ts";
import type { PrepareRequest } from "../../driver.ts";
import { ociErrors } from "../errors.ts";
import { capabilitySets, containerCapabilities } from "./capabilities.ts";
import { deviceRules, type GrantedDevice } from "./device-rules.ts";
import { processEnvironment } from "./environment.ts";
import { containerMounts, initPath, rootPropagation } from "./mounts.ts";
import { containerNamespaces } from "./namespaces.ts";
import type { OciProcess, OciSpec } from "./oci-spec.ts";
import { type OwnLimits, processOomScore, processRlimits } from "./process-limits.ts";
import { protectedPaths } from "./protected-paths.ts";
import { type BlockDevices, containerResources } from "./resources.ts";
import { resolveSeccomp, type SeccompHost } from "./seccomp/profile.ts";
import { containerSysctls } from "./sysctls.ts";
import { resolveUser } from "./users.ts";

/** What has to be read from the host and the root file system before a specification can be written. */
export interface SpecFacts {
  readonly passwd: string;
  readonly group: string;
  /** Names without CAP_ that this process has. */
  readonly capabilities: readonly string[];
  readonly limits: OwnLimits;
  readonly swapLimit: boolean;
  readonly blockDevices: BlockDevices;
  readonly devices: readonly GrantedDevice[];
  /** Host path of the init program, when one was asked for. */
  readonly init?: string;
  readonly recursiveReadOnly: boolean;
  readonly seccomp: SeccompHost;
}

const defaultShmSize = 64 * 1024 * 1024;

/** The OCI runtime specification of an instance: pure, all that has to be known comes in. */
export function runtimeSpec(request: PrepareRequest, facts: SpecFacts): OciSpec {
  const { spec, namespaces } = request;
  const { security } = spec;
  const process = mainProcess(request, facts);
  const paths = protectedPaths(security);
  const propagation = rootPropagation(request.mounts);
  const seccomp = security.privileged
    ? resolveSeccomp(
        security.seccomp === "default" ? "unconfined" : security.seccomp,
        facts.seccomp,
        process.capabilities.bounding,
      )
    : resolveSeccomp(security.seccomp, facts.seccomp, process.capabilities.bounding);
  return {
    ociVersion: "1.0.2",
    process,
    root: { path: request.rootfs, readonly: security.readonlyRootfs },
    ...(namespaces.uts === "host" ? {} : { hostname: request.hostname }),
    mounts: containerMounts({
      mounts: request.mounts,
      shmSize: spec.shmSize === 0 ? defaultShmSize : spec.shmSize,
      ipcMode: spec.namespaces.ipc,
      privileged: security.privileged,
      readonlyRootfs: security.readonlyRootfs,
      recursiveReadOnly: facts.recursiveReadOnly,
      ...(facts.init === undefined ? {} : { init: facts.init }),
    }),
    ...(Object.keys(spec.annotations).length === 0 ? {} : { annotations: spec.annotations }),
    linux: {
      namespaces: containerNamespaces(namespaces, spec.namespaces.user),
      devices: facts.devices.map(({ device }) => device),
      cgroupsPath: request.cgroupPath,
      resources: containerResources(
        spec.resources,
        deviceRules(security.privileged, facts.devices, spec.deviceCgroupRules),
        facts,
      ),
      sysctl: containerSysctls({
        sysctls: spec.sysctls,
        domainname: spec.domainname,
        ownNetwork: namespaces.network !== "host" && !spec.network.mode.startsWith("container:"),
        ownIpc: namespaces.ipc === "private",
        ownUts: namespaces.uts === "private",
      }),
      ...(seccomp === undefined
        ? {}
        : { seccomp: { ...seccomp, syscalls: [...seccomp.syscalls, ...(request.syscalls ?? [])] } }),
      ...(propagation === undefined ? {} : { rootfsPropagation: propagation }),
      maskedPaths: paths.masked,
      readonlyPaths: paths.readonly,
    },
  };
}

/** Whether the instance's init is wanted and makes sense: only as PID 1 of its own namespace. */
export function wantsInit(spec: InstanceSpec, pidNamespace: string): boolean {
  return spec.process.init && pidNamespace === "private";
}

function mainProcess(request: PrepareRequest, facts: SpecFacts): OciProcess {
  const { process, security, ulimits, oomScoreAdj } = request.spec;
  const args = [...process.entrypoint, ...process.cmd];
  if (args.length === 0 || args[0] === "") throw ociErrors.COMMAND_MISSING({});
  const cwd = process.workingDir === "" ? "/" : process.workingDir;
  if (!cwd.startsWith("/")) throw ociErrors.WORKING_DIR_INVALID({ path: cwd });
  const { home, ...user } = resolveUser({
    user: process.user,
    groupAdd: process.groupAdd,
    passwd: facts.passwd,
    group: facts.group,
  });
  const rlimits = processRlimits(ulimits, facts.limits);
  const oomScore = processOomScore(oomScoreAdj, facts.limits);
  const { terminal } = request;
  return {
    terminal: process.tty,
    ...(process.tty && terminal !== undefined && terminal.rows > 0
      ? { consoleSize: { height: terminal.rows, width: terminal.columns } }
      : {}),
    user,
    args: facts.init === undefined ? args : [initPath, "--", ...args],
    env: processEnvironment({ env: process.env, hostname: request.hostname, tty: process.tty, home }),
    cwd,
    capabilities: capabilitySets(containerCapabilities(security, facts.capabilities)),
    ...(rlimits.length === 0 ? {} : { rlimits }),
    noNewPrivileges: security.noNewPrivileges,
    ...(oomScore === undefined ? {} : { oomScoreAdj: oomScore }),
  };
}

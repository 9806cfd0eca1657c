/** From the command line's options to the body of `POST /containers/create`. */
import { readFileSync } from "node:fs";
import { messageOf } from "../../../base/errors.ts";
import type { OptionValues } from "../../command.ts";
import { cliErrors } from "../../errors.ts";
import { parseDuration, parseSize } from "../../render/units.ts";
import type { createOptions } from "./create-options.ts";
import { parseMount } from "./parse-mount.ts";
import { parsePorts } from "./parse-ports.ts";

export type CreateValues = OptionValues<typeof createOptions>;
type Json = Record<string, unknown>;

export interface CreateContext {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly attach: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
}

export function createBody(
  image: string,
  command: readonly string[],
  values: CreateValues,
  context: CreateContext,
): Json {
  const { exposed, bindings } = parsePorts(values.publish, values.expose);
  const networks = [...values.network, ...values.net];
  return defined({
    Image: image,
    Cmd: command.length > 0 ? command : undefined,
    Entrypoint: values.entrypoint === undefined ? undefined : values.entrypoint === "" ? [""] : [values.entrypoint],
    Hostname: values.hostname,
    Domainname: values.domainname,
    User: values.user,
    WorkingDir: values.workdir,
    Env: environment(values, context.environment),
    Labels: { ...fromFiles(values.labelFile), ...pairs(values.label, "label"), ...requestLabels(values) },
    Tty: values.tty,
    OpenStdin: values.interactive,
    StdinOnce: values.interactive && context.attach.stdin,
    AttachStdin: context.attach.stdin,
    AttachStdout: context.attach.stdout,
    AttachStderr: context.attach.stderr,
    ExposedPorts: exposed,
    StopSignal: values.stopSignal,
    StopTimeout: values.stopTimeout,
    Healthcheck: healthcheck(values),
    Volumes: Object.fromEntries(values.volume.filter((volume) => !volume.includes(":")).map((path) => [path, {}])),
    HostConfig: hostConfig(values, networks, bindings),
    NetworkingConfig: { EndpointsConfig: endpoints(values, networks) },
  });
}

function hostConfig(values: CreateValues, networks: readonly string[], bindings: Json): Json {
  return defined({
    Binds: values.volume.filter((volume) => volume.includes(":")),
    Mounts: values.mount.map(parseMount),
    Tmpfs: Object.fromEntries(values.tmpfs.map((tmpfs) => splitAt(tmpfs, ":"))),
    VolumesFrom: values.volumesFrom,
    VolumeDriver: values.volumeDriver,
    PortBindings: bindings,
    PublishAllPorts: values.publishAll,
    NetworkMode: networks[0] === undefined ? undefined : networkName(networks[0]),
    Links: values.link,
    Dns: values.dns,
    DnsSearch: values.dnsSearch,
    DnsOptions: [...values.dnsOption, ...values.dnsOpt],
    ExtraHosts: values.addHost.map((host) => host.replace("=", ":")),
    AutoRemove: values.rm,
    RestartPolicy: values.restart === undefined ? undefined : restartPolicy(values.restart),
    LogConfig:
      values.logDriver === undefined && values.logOpt.length === 0
        ? undefined
        : { Type: values.logDriver ?? "", Config: pairs(values.logOpt, "log-opt") },
    Runtime: values.vm ? "vm" : values.runtime,
    Init: values.init ? true : undefined,
    Annotations: pairs(values.annotation, "annotation"),
    StorageOpt: values.storageOpt.length > 0 ? pairs(values.storageOpt, "storage-opt") : undefined,
    ReadonlyRootfs: values.readOnly,
    ShmSize: size(values.shmSize, "shm-size"),
    Devices: values.device.map(device),
    DeviceCgroupRules: values.deviceCgroupRule,
    DeviceRequests:
      values.gpus === undefined
        ? undefined
        : [{ Driver: "", Count: values.gpus === "all" ? -1 : Number(values.gpus), Capabilities: [["gpu"]] }],
    Privileged: values.privileged,
    CapAdd: values.capAdd,
    CapDrop: values.capDrop,
    SecurityOpt: values.securityOpt.map(securityOption),
    GroupAdd: values.groupAdd,
    PidMode: values.pid,
    IpcMode: values.ipc,
    UTSMode: values.uts,
    UsernsMode: values.userns,
    CgroupnsMode: values.cgroupns,
    CgroupParent: values.cgroupParent,
    Sysctls: pairs(values.sysctl, "sysctl"),
    Ulimits: values.ulimit.map(ulimit),
    OomScoreAdj: values.oomScoreAdj,
    ...resourceBody(values),
  });
}

/** Requests are labels, which docker's client can set as well; the engine checks them. */
function requestLabels({ requestCpus, requestMemory, requestPids, requestDisk }: CreateValues): Json {
  return defined({
    "berth.request.cpus": requestCpus,
    "berth.request.memory": requestMemory,
    "berth.request.pids": requestPids?.toString(),
    "berth.request.disk": requestDisk,
  });
}

/** The resource limits that `run`, `create` and `update` share. */
export function resourceBody(
  values: Pick<
    CreateValues,
    | "memory"
    | "memoryReservation"
    | "memorySwap"
    | "cpus"
    | "cpuShares"
    | "cpuPeriod"
    | "cpuQuota"
    | "cpusetCpus"
    | "cpusetMems"
    | "pidsLimit"
    | "blkioWeight"
  > &
    Partial<CreateValues>,
): Json {
  return defined({
    Memory: size(values.memory, "memory"),
    MemoryReservation: size(values.memoryReservation, "memory-reservation"),
    MemorySwap: size(values.memorySwap, "memory-swap"),
    MemorySwappiness: values.memorySwappiness,
    OomKillDisable: values.oomKillDisable === true ? true : undefined,
    NanoCpus: values.cpus === undefined ? undefined : nanoCpus(values.cpus),
    CpuShares: values.cpuShares,
    CpuPeriod: values.cpuPeriod,
    CpuQuota: values.cpuQuota,
    CpusetCpus: values.cpusetCpus,
    CpusetMems: values.cpusetMems,
    PidsLimit: values.pidsLimit,
    BlkioWeight: values.blkioWeight,
    BlkioWeightDevice: values.blkioWeightDevice?.map((word) => deviceValue(word, "Weight", "blkio-weight-device")),
    BlkioDeviceReadBps: values.deviceReadBps?.map((word) => deviceValue(word, "Rate", "device-read-bps")),
    BlkioDeviceWriteBps: values.deviceWriteBps?.map((word) => deviceValue(word, "Rate", "device-write-bps")),
    BlkioDeviceReadIOps: values.deviceReadIops?.map((word) => deviceValue(word, "Rate", "device-read-iops")),
    BlkioDeviceWriteIOps: values.deviceWriteIops?.map((word) => deviceValue(word, "Rate", "device-write-iops")),
  });
}

/** "on-failure:3". */
export function restartPolicy(text: string): Json {
  const [name, count] = splitAt(text, ":");
  if (count !== "" && !/^\d+$/.test(count))
    throw cliErrors.OPTION_INVALID({
      option: "restart",
      value: text,
      reason: "the maximum retry count must be a whole number",
    });
  return { Name: name, MaximumRetryCount: count === "" ? 0 : Number(count) };
}

function endpoints(values: CreateValues, networks: readonly string[]): Json {
  const aliases = [...values.networkAlias, ...values.netAlias];
  const wanted = networks.length > 0 ? networks : ["default"];
  return Object.fromEntries(
    wanted
      .filter((network) => !/^(none|host|container:.*)$/.test(network))
      .map((network, index) => {
        const own = networkOptions(network);
        const first = index === 0;
        const address = defined({
          IPv4Address: own.get("ip") ?? (first ? values.ip : undefined),
          IPv6Address: own.get("ip6") ?? (first ? values.ip6 : undefined),
        });
        const endpoint = defined({
          Aliases: [...(first ? aliases : []), ...own.getAll("alias")],
          Links: first ? values.link : [],
          MacAddress: own.get("mac-address") ?? (first ? values.macAddress : undefined),
          IPAMConfig: Object.keys(address).length > 0 ? address : undefined,
          GwPriority: own.get("gw-priority") === undefined ? undefined : Number(own.get("gw-priority")),
        });
        return [networkName(network), endpoint];
      }),
  );
}

/** "name=mynet,ip=10.0.0.2,alias=db" as well as "mynet". */
function networkOptions(text: string): { get(name: string): string | undefined; getAll(name: string): string[] } {
  const fields = text.includes("=") ? text.split(",").map((field) => splitAt(field, "=")) : [["name", text] as const];
  const getAll = (name: string) => fields.filter(([key]) => key === name).map(([, value]) => value);
  return { getAll, get: (name) => getAll(name)[0] };
}

function networkName(text: string): string {
  return networkOptions(text).get("name") ?? text;
}

/** `--env` and `--env-file` as the engine's list; a name alone passes our own value on, when there is one. */
export function environment(
  values: Pick<CreateValues, "env" | "envFile">,
  ours: CreateContext["environment"],
): readonly string[] {
  const lines = [...values.envFile.flatMap(fileLines), ...values.env];
  return lines.flatMap((line) => {
    if (line.includes("=")) return [line];
    const value = ours[line];
    return value === undefined ? [] : [`${line}=${value}`];
  });
}

function fileLines(path: string): readonly string[] {
  try {
    const lines = readFileSync(path, "utf8")
      .split("\n")
      .map((line) => line.trimStart());
    return lines.filter((line) => line !== "" && !line.startsWith("#"));
  } catch (error) {
    throw cliErrors.FILE_UNREADABLE({ path, reason: messageOf(error) }, { cause: error });
  }
}

function fromFiles(paths: readonly string[]): Json {
  return Object.fromEntries(paths.flatMap(fileLines).map((line) => splitAt(line, "=")));
}

/** "key=value" words as an object; a key alone has an empty value. */
export function pairs(words: readonly string[], option: string): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      if (word.startsWith("=") || word === "")
        throw cliErrors.OPTION_INVALID({ option, value: word, reason: "key=value is needed" });
      return splitAt(word, "=");
    }),
  );
}

function healthcheck(values: CreateValues): Json | undefined {
  if (values.noHealthcheck) return { Test: ["NONE"] };
  const check = defined({
    Test: values.healthCmd === undefined ? undefined : ["CMD-SHELL", values.healthCmd],
    Interval: duration(values.healthInterval, "health-interval"),
    Timeout: duration(values.healthTimeout, "health-timeout"),
    StartPeriod: duration(values.healthStartPeriod, "health-start-period"),
    StartInterval: duration(values.healthStartInterval, "health-start-interval"),
    Retries: values.healthRetries,
  });
  return Object.keys(check).length > 0 ? check : undefined;
}

function securityOption(word: string): string {
  const path = /^seccomp[=:](.+)$/.exec(word)?.[1];
  if (path === undefined || path === "unconfined" || path === "builtin") return word.replace(/^(\w+):/, "$1=");
  try {
    return `seccomp=${JSON.stringify(JSON.parse(readFileSync(path, "utf8")))}`;
  } catch (error) {
    throw cliErrors.FILE_UNREADABLE({ path, reason: messageOf(error) }, { cause: error });
  }
}

function device(word: string): Json {
  const [host = "", second, third] = word.split(":");
  const isMode = second !== undefined && third === undefined && /^[rwm]{1,3}$/.test(second);
  return {
    PathOnHost: host,
    PathInContainer: second === undefined || isMode ? host : second,
    CgroupPermissions: third ?? (isMode ? second : "rwm"),
  };
}

/** `--ulimit name=soft[:hard]` as the engine takes it. */
export function ulimit(word: string): Json {
  const match = /^(\w+)=(-?\d+)(?::(-?\d+))?$/.exec(word);
  if (match === null)
    throw cliErrors.OPTION_INVALID({ option: "ulimit", value: word, reason: "name=soft[:hard] is needed" });
  return { Name: match[1], Soft: Number(match[2]), Hard: Number(match[3] ?? match[2]) };
}

function deviceValue(word: string, name: "Rate" | "Weight", option: string): Json {
  const at = word.lastIndexOf(":");
  const value = name === "Rate" ? parseSize(word.slice(at + 1)) : Number(word.slice(at + 1));
  if (at < 1 || value === undefined || Number.isNaN(value))
    throw cliErrors.OPTION_INVALID({ option, value: word, reason: `/dev/NAME:${name.toUpperCase()} is needed` });
  return { Path: word.slice(0, at), [name]: value };
}

function nanoCpus(text: string): number {
  if (!/^\d+(\.\d{1,9})?$|^\.\d{1,9}$/.test(text))
    throw cliErrors.OPTION_INVALID({ option: "cpus", value: text, reason: "a number such as 1.5 is needed" });
  return Math.round(Number(text) * 1e9);
}

function size(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  const bytes = parseSize(text);
  if (bytes === undefined)
    throw cliErrors.OPTION_INVALID({ option, value: text, reason: "a size such as 512m is needed" });
  return bytes;
}

function duration(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  const nanoseconds = parseDuration(text);
  if (nanoseconds === undefined)
    throw cliErrors.OPTION_INVALID({ option, value: text, reason: "a duration such as 30s is needed" });
  return nanoseconds;
}

function splitAt(text: string, separator: string): readonly [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}

function defined(fields: Json): Json {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

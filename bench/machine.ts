/** What the figures depend on besides the engines. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import { promisify } from "node:util";
import { readAll } from "../src/client/engine-client.ts";
import type { MeasuredEngine } from "./measured-engine.ts";

export interface Machine {
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly system: string;
  readonly cgroups: string;
  /** One, five and fifteen minutes before the first round. */
  readonly load: readonly number[];
  readonly dockerClient: string;
}

export interface EngineFacts {
  readonly name: string;
  readonly version: string;
  readonly runtime: string;
  readonly storage: string;
  readonly fileSystem: string;
}

export async function describeMachine(): Promise<Machine> {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cpus: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    system: /^PRETTY_NAME="?(.*?)"?$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "Linux",
    cgroups: cgroupMode(),
    load: loadavg().map((value) => Math.round(value * 100) / 100),
    dockerClient: await output("docker", ["--version"]),
  };
}

export async function describeEngine(engine: MeasuredEngine): Promise<EngineFacts> {
  const { body } = await engine.api.stream("GET", "/version");
  const version = JSON.parse(await readAll(body)) as { readonly Version: string };
  const info = await engine.api.call<Info>("GET", "/info");
  const own = engine.isBerth ? await engine.api.call<BerthInfo>("GET", "/berth/info") : undefined;
  const backing = info.DriverStatus?.find(([name]) => name === "Backing Filesystem")?.[1];
  return {
    name: engine.name,
    version: version.Version,
    runtime: own === undefined ? info.DefaultRuntime : runtimeOf(own),
    storage: info.Driver,
    fileSystem: backing ?? "unknown",
  };
}

interface Info {
  readonly DefaultRuntime: string;
  readonly Driver: string;
  readonly DriverStatus?: readonly (readonly [string, string])[];
}

interface BerthInfo {
  readonly runtime: { readonly runtime: string; readonly versions: Readonly<Record<string, string>> };
}

function runtimeOf({ runtime: { runtime, versions } }: BerthInfo): string {
  return `${runtime} ${versions[runtime] ?? ""} with conmon ${versions["conmon"] ?? ""}`;
}

function cgroupMode(): string {
  if (existsSync("/sys/fs/cgroup/cgroup.controllers")) return "v2";
  return readdirSync("/sys/fs/cgroup").includes("unified") ? "v1 hybrid" : "v1";
}

async function output(program: string, words: readonly string[]): Promise<string> {
  return (await promisify(execFile)(program, [...words])).stdout.trim();
}

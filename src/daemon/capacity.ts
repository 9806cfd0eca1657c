/**
 * The ledger's account as the API shows it: what the machine has and who reserves it, what is shared, and what is used now. The sums cost
 * the same whatever runs: the instances' common control group, /proc and statfs(2) have them. Each holder's use is read only when asked.
 */
import { statfs } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { OpContext } from "../base/op-context.ts";
import type { CgroupDriver } from "../host/cgroup.ts";
import { type MachineUsage, readMachineUsage } from "../host/machine-usage.ts";
import type { ImageService } from "../images/image-service.ts";
import type { InstanceManager } from "../instances/manager.ts";
import { allocated, type Claim } from "../ledger/account.ts";
import type { Ledger } from "../ledger/ledger.ts";
import {
  type CapacityReport,
  type Holder,
  type Quantities,
  type ResourceCapacity,
  resourceNames,
} from "../schema/capacity.ts";
import type { ResourceUsage } from "../schema/resources.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import type { VolumeService } from "../volumes/volume-service.ts";
import { sharedThings } from "./shared-things.ts";

export interface CapacityParts {
  readonly ledger: Ledger;
  readonly cgroups: CgroupDriver;
  /** Control group above all instances'. */
  readonly cgroupParent: string;
  readonly dataRoot: string;
  readonly images: ImageService;
  readonly instances: InstanceManager;
  readonly snapshotter: Snapshotter;
  readonly volumes: VolumeService;
  /** What virtual machines are booted from. */
  readonly machines: { diskUsage(): Promise<number> };
}

export interface CapacityOptions {
  /** What each holder uses, and what is under the data root: costs a reading for each of them. */
  readonly verbose: boolean;
}

/** Between the two readings that tell how busy the CPUs are. */
const sampleMs = 200;

export async function reportCapacity(
  parts: CapacityParts,
  ctx: OpContext,
  { verbose }: CapacityOptions,
): Promise<CapacityReport> {
  const { ledger } = parts;
  const claims = ledger.claims();
  const [use, shared, disk] = await Promise.all([
    usedNow(parts, ctx, verbose ? claims : []),
    sharedThings(parts, ctx),
    diskUse(parts, ctx, verbose),
  ]);
  const account = { totals: ledger.totals(), limits: ledger.limits(), allocated: allocated(claims) };
  const sharedDisk = shared.reduce((sum, thing) => sum + thing.disk, 0);
  const resources = resourceNames.map(
    (resource): ResourceCapacity => ({
      resource,
      total: account.totals[resource],
      reserved: ledger.policy.reserved[resource],
      ratio: ledger.policy.ratio[resource],
      limit: account.limits[resource],
      allocated: account.allocated[resource],
      left: account.limits[resource] - account.allocated[resource],
      shared: resource === "disk" ? sharedDisk : null,
      inUse: resource === "disk" ? disk.engine : use.engine[resource],
      machineInUse: resource === "disk" ? disk.machine : use.machine[resource],
    }),
  );
  const holders = claims
    .map((claim): Holder => {
      const inUse = use.holders.get(claim.owner.id);
      const onDisk = disk.byInstance.get(claim.owner.id) ?? 0;
      return {
        owner: claim.owner,
        request: claim.request,
        unbounded: [...claim.unbounded],
        ...(inUse === undefined ? {} : { inUse: { ...inUse, disk: onDisk } }),
      };
    })
    .toSorted((a, b) => b.request.memory - a.request.memory || b.request.cpu - a.request.cpu);
  return { resources, holders, shared: [...shared] };
}

type Rates = Omit<Quantities, "disk">;

interface Reading {
  readonly atMs: number;
  readonly machine: MachineUsage;
  readonly engine: ResourceUsage;
  readonly holders: ReadonlyMap<string, ResourceUsage>;
}

/** From two readings, since CPU time is a sum. */
async function usedNow(
  parts: CapacityParts,
  ctx: OpContext,
  claims: readonly Claim[],
): Promise<{ readonly machine: Rates; readonly engine: Rates; readonly holders: ReadonlyMap<string, Rates> }> {
  const before = await read(parts, claims);
  await delay(sampleMs, undefined, { signal: ctx.signal });
  const after = await read(parts, claims);
  const elapsedNs = (after.atMs - before.atMs) * 1e6;
  const cpu = (fromNs: number, toNs: number) => Math.max(0, Math.round(((toNs - fromNs) / elapsedNs) * 1e9));
  const rates = (from: ResourceUsage, to: ResourceUsage): Rates => ({
    cpu: cpu(from.cpuTotalNs, to.cpuTotalNs),
    // As `docker stats`: without the cache that the kernel would give up first.
    memory: Math.max(0, to.memoryBytes - to.memoryInactiveFileBytes),
    pids: to.pids,
  });
  return {
    machine: {
      cpu: cpu(before.machine.cpuBusyNs, after.machine.cpuBusyNs),
      memory: after.machine.memoryBytes,
      pids: after.machine.pids,
    },
    engine: rates(before.engine, after.engine),
    holders: new Map([...after.holders].map(([id, usage]) => [id, rates(before.holders.get(id) ?? usage, usage)])),
  };
}

async function read(parts: CapacityParts, claims: readonly Claim[]): Promise<Reading> {
  const [machine, engine, holders] = await Promise.all([
    readMachineUsage(),
    // A group that is not there, because nothing runs in it, uses nothing.
    parts.cgroups.usage(parts.cgroupParent),
    Promise.all(claims.map(({ owner }) => parts.cgroups.usage(`${parts.cgroupParent}/${owner.id}`))),
  ]);
  return {
    atMs: performance.now(),
    machine,
    engine,
    holders: new Map(holders.map((usage, index) => [claims[index]?.owner.id ?? "", usage])),
  };
}

interface DiskUse {
  readonly machine: number;
  readonly engine: number | null;
  readonly byInstance: ReadonlyMap<string, number>;
}

async function diskUse(parts: CapacityParts, ctx: OpContext, verbose: boolean): Promise<DiskUse> {
  const { blocks, bfree, bsize } = await statfs(parts.dataRoot);
  const machine = (blocks - bfree) * bsize;
  if (!verbose) return { machine, engine: null, byInstance: new Map() };
  const [images, byInstance, machines, volumes] = await Promise.all([
    parts.images.diskUsage(ctx),
    parts.instances.diskUsage(ctx),
    parts.machines.diskUsage(),
    parts.volumes.diskUsage(
      ctx,
      parts.volumes.list().map(({ name }) => name),
    ),
  ]);
  const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0);
  return { machine, engine: images.total + sum(byInstance.values()) + machines + sum(volumes), byInstance };
}

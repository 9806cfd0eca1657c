/** What an instance reserves of the machine: from its labels, else from its limits. Pure; ADR 6 says why so. */
import { parseSize } from "../base/byte-size.ts";
import type { Claim } from "../ledger/account.ts";
import { eachResource } from "../ledger/quantities.ts";
import { type ResourceName, resourceNames } from "../schema/capacity.ts";
import type { InstanceRecord, InstanceSpec } from "../schema/instance.ts";
import type { ResourceSpec } from "../schema/resources.ts";
import { hardwareOverhead, virtualDiskBytes } from "./machine/hardware-size.ts";
import { machineMemory, memoryOverhead } from "./qemu/machine-size.ts";
import { isActive } from "./resolve.ts";
import { invalid } from "./validate/invalid.ts";

type Requesting = Pick<InstanceSpec, "labels" | "resources" | "machine">;

const prefix = "berth.request.";
/** Label of each resource; its value is written as the flag of the limit is. */
const labels: Readonly<Record<ResourceName, string>> = {
  cpu: `${prefix}cpus`,
  memory: `${prefix}memory`,
  pids: `${prefix}pids`,
  disk: `${prefix}disk`,
};
/** CFS period where none is stated, microseconds. */
const defaultPeriod = 100_000;

/** The claim of an instance that runs, or is to. */
export function claimOf({ id, name, spec }: Pick<InstanceRecord, "id" | "name" | "spec">): Claim {
  const stated = eachResource((resource) => withOverhead(spec, resource, statedRequest(spec, resource)));
  return {
    owner: { kind: spec.internal ? "build" : spec.isolation, id, name },
    request: eachResource((resource) => stated[resource] ?? 0),
    unbounded: resourceNames.filter((resource) => stated[resource] === undefined),
  };
}

/** What an instance holds now: all while it is active; its disk space from its first start on, as its files stay. */
export function heldBy(record: InstanceRecord): Claim | undefined {
  const known = held.get(record);
  if (known !== undefined) return known.claim;
  const claim = heldClaim(record);
  held.set(record, { claim });
  return claim;
}

/** By record: every change makes another one. An admission is not to read the labels of all that run. */
const held = new WeakMap<InstanceRecord, { readonly claim: Claim | undefined }>();

function heldClaim(record: InstanceRecord): Claim | undefined {
  const active = isActive(record);
  if (!active && record.state.startedAt === "") return undefined;
  const claim = claimOf(record);
  if (active) return claim;
  const { disk } = claim.request;
  if (disk === 0) return undefined;
  return { ...claim, request: eachResource((resource) => (resource === "disk" ? disk : 0)), unbounded: [] };
}

/** `REQUEST_INVALID` for a label that says nothing, or that Berth does not know. */
export function validateRequestLabels(stated: InstanceSpec["labels"]): void {
  const known = new Map(resourceNames.map((resource) => [labels[resource], resource]));
  for (const [label, value] of Object.entries(stated)) {
    if (!label.startsWith(prefix)) continue;
    const resource = known.get(label);
    if (resource === undefined) {
      throw invalid(`invalid label "${label}": requests are stated as ${[...known.keys()].join(", ")}`);
    }
    if (parseRequest(resource, value) === undefined) {
      throw invalid(`invalid label "${label}=${value}": ${examples[resource]}`);
    }
  }
}

const examples: Readonly<Record<ResourceName, string>> = {
  cpu: "a number of CPUs such as 0.5",
  memory: "a size such as 256m",
  pids: "a number of processes",
  disk: "a size such as 10g",
};

/** Undefined when neither a request nor a limit is stated. A request of 0 reserves nothing, whatever the limit. */
function statedRequest({ labels: stated, resources, machine }: Requesting, resource: ResourceName): number | undefined {
  const label = stated[labels[resource]];
  const disks = resource === "disk" && machine !== undefined ? virtualDiskBytes(machine) : undefined;
  return (label === undefined ? undefined : parseRequest(resource, label)) ?? limitOf(resources, resource) ?? disks;
}

/** A machine has a size also where no limit is stated, and takes more of the host than the guest sees. */
function withOverhead(
  { isolation, machine, resources }: Pick<InstanceSpec, "isolation" | "machine" | "resources">,
  resource: ResourceName,
  request: number | undefined,
): number | undefined {
  if (isolation !== "vm" || resource !== "memory") return request;
  return (request ?? machineMemory(resources)) + (machine === undefined ? memoryOverhead : hardwareOverhead);
}

function parseRequest(resource: ResourceName, text: string): number | undefined {
  switch (resource) {
    case "cpu":
      return /^\d+(\.\d+)?$/.test(text) ? Math.round(Number(text) * 1e9) : undefined;
    case "pids":
      return /^\d+$/.test(text) ? Number(text) : undefined;
    case "memory":
    case "disk":
      return parseSize(text);
  }
}

/** The request that a limit stands for, as in Kubernetes; docker's own soft limit of memory is a request as it is. */
function limitOf(resources: ResourceSpec, resource: ResourceName): number | undefined {
  switch (resource) {
    case "cpu": {
      const { nanoCpus, cpuQuota, cpuPeriod } = resources;
      if (nanoCpus > 0) return nanoCpus;
      return cpuQuota > 0 ? Math.round((cpuQuota / (cpuPeriod || defaultPeriod)) * 1e9) : undefined;
    }
    case "memory":
      return positive(resources.memoryReservation) ?? positive(resources.memory);
    case "pids":
      return positive(resources.pidsLimit);
    case "disk":
      return undefined;
  }
}

const positive = (value: number) => (value > 0 ? value : undefined);

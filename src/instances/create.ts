import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import { newId, shortId } from "../base/ids.ts";
import type { OpContext } from "../base/op-context.ts";
import { Reverter } from "../base/reverter.ts";
import { mkdir, rm } from "../host/files.ts";
import type { ImageRecord, Platform } from "../schema/image.ts";
import type {
  InstanceNetworkSpec,
  InstanceRecord,
  InstanceSpec,
  InstanceState,
  MountSpec,
} from "../schema/instance.ts";
import { instanceErrors } from "./errors.ts";
import type { InstanceRequest } from "./instance-service.ts";
import { mergeImage } from "./merge-image.ts";
import { dataDir, driverOf, isThrowAway, type Parts } from "./parts.ts";
import { resolveInstance } from "./resolve.ts";
import { resolveInRoot } from "./files/resolve-in-root.ts";
import { joinedInstance } from "./validate/namespaces.ts";
import { invalid } from "./validate/invalid.ts";
import { normaliseTarget } from "./validate/mounts.ts";
import { discardUnsupported } from "./validate/resources.ts";
import { requireProbe, validateHealthcheck, validateRequest } from "./validate/validate.ts";

/** Journal kind of a create that makes volumes, which nothing else would lead recovery to. */
export const createJournalKind = "instance.create";

/** A network that is missing is the request's fault, not a thing that was not found. */
function requireNetwork(parts: Parts, nameOrId: string): void {
  try {
    parts.networks.resolve(nameOrId);
  } catch (error) {
    throw instanceErrors.NETWORK_UNUSABLE({ reason: messageOf(error) }, { cause: error });
  }
}

/** See {@link InstanceService.create}. Everything is checked, and the name taken, before the first effect. */
export async function createInstance(
  parts: Parts,
  ctx: OpContext,
  request: InstanceRequest,
): Promise<{ readonly record: InstanceRecord; readonly warnings: readonly string[] }> {
  const driver = driverOf(parts, request);
  const warnings = await validateRequest(request, {
    machine: { cpus: parts.host.facts.cpus, controllers: parts.host.cgroups.controllers },
    resolve: (nameOrId) => resolveInstance(parts.records, nameOrId),
    requireNetwork: (nameOrId) => requireNetwork(parts, nameOrId),
    checkEndpoint: (network, endpoint) => parts.networks.checkEndpoint(network, endpoint),
  });
  const able = discardUnsupported(request.resources, parts.host.cgroups.features);
  const image = findImage(parts, request);
  const merged = mergeImage({ ...request, resources: able.resources }, image?.config.config ?? {});
  requireCommand(merged);
  validateHealthcheck(merged.healthcheck);
  requireProbe(merged.restartPolicy, merged);
  driver.refuse(merged);

  const id = newId();
  await using reverter = new Reverter(ctx);
  const name = parts.records.reserveName(id, request.name);
  reverter.add("release the name", () => parts.records.releaseName(id, name));

  const chainId = request.rootfsChainId ?? (image === undefined ? "" : await parts.images.unpack(ctx, image));
  const spec = nameAnonymousVolumes(adaptSpec(parts, id, { ...merged, name }));
  const volumes = volumesToMake(parts, spec);
  const journal = volumes.length === 0 ? undefined : parts.store.journal.begin(createJournalKind, id, { volumes });
  reverter.add("end the journal entry", () => journal?.end());

  await parts.snapshotter.prepare(ctx, id, chainId, { durable: !isThrowAway(spec) });
  reverter.add("remove the snapshot", (ctx) => parts.snapshotter.remove(ctx, id));
  const dir = dataDir(parts, id);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  reverter.add("remove the directory", () => rm(dir, { recursive: true, force: true }));
  await request.furnish?.(ctx, { id, name, dataDir: dir });
  // Let go before anything is undone: a volume in use is not removed.
  using _reserved = parts.records.reserveVolumes(
    id,
    spec.mounts.flatMap((mount) => (mount.type === "volume" ? [mount.name] : [])),
  );
  await createVolumes(parts, ctx, id, spec, chainId, reverter);

  const record: InstanceRecord = {
    id,
    name,
    createdAt: new Date(parts.clock.now()).toISOString(),
    imageId: image?.id ?? "",
    chainId,
    spec,
    state: initialState,
  };
  parts.records.insert(record, { durable: false });
  reverter.add("forget the record", () => parts.records.delete(id, { durable: false }));
  if (!isThrowAway(spec)) await parts.store.flush();
  reverter.commit();
  journal?.end();
  if (request.secretEnv !== undefined) parts.lives.of(id).secretEnv = request.secretEnv;
  parts.publish(record, "create");
  return { record, warnings: [...warnings, ...able.warnings] };
}

const initialState: InstanceState = {
  status: "created",
  pid: 0,
  exitCode: 0,
  oomKilled: false,
  error: "",
  startedAt: "",
  finishedAt: "",
  restartCount: 0,
  manuallyStopped: false,
  health: null,
  handle: null,
  endpoints: [],
  ports: [],
};

/** The image of the request; undefined for a build step, whose root is given, and for a root from scratch. */
function findImage(parts: Parts, request: InstanceRequest): ImageRecord | undefined {
  if (request.rootfsChainId !== undefined) return undefined;
  const image = parts.images.resolve(request.image);
  const { platform } = request;
  if (platform !== undefined && !matchesPlatform(image, platform)) {
    const has: Platform = { os: image.config.os, architecture: image.config.architecture };
    throw instanceErrors.PLATFORM_MISMATCH({
      image: request.image,
      has: platformText(image.config.variant === undefined ? has : { ...has, variant: image.config.variant }),
      wanted: platformText(platform),
    });
  }
  return image;
}

function matchesPlatform({ config }: ImageRecord, wanted: Platform): boolean {
  return (
    (wanted.os === "" || wanted.os === config.os) &&
    (wanted.architecture === "" || wanted.architecture === config.architecture) &&
    (wanted.variant === undefined || config.variant === undefined || wanted.variant === config.variant)
  );
}

function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
}

function requireCommand({ process, machine }: InstanceSpec): void {
  // What a machine runs is on its disks.
  if (machine !== undefined) return;
  const [command] = [...process.entrypoint, ...process.cmd];
  if (command === undefined || command === "") throw invalid("no command specified");
  if (process.workingDir !== "" && !process.workingDir.startsWith("/")) {
    throw invalid(`the working directory '${process.workingDir}' is invalid, it needs to be an absolute path`);
  }
}

/** Docker's defaults that depend on the id, on other fields, or on other instances. */
function adaptSpec(parts: Parts, id: string, spec: InstanceSpec): InstanceSpec {
  const { resources, network } = spec;
  return {
    ...spec,
    hostname: spec.hostname === "" ? defaultHostname(parts, id, spec) : spec.hostname,
    resources:
      resources.memory > 0 && resources.memorySwap === 0
        ? { ...resources, memorySwap: resources.memory * 2 }
        : resources,
    network: { ...network, ...canonicalNetworks(parts, network) },
    namespaces: {
      ...spec.namespaces,
      pid: withFullId(parts, spec.namespaces.pid),
      ipc: withFullId(parts, spec.namespaces.ipc),
    },
    mounts: spec.mounts.map((mount) => ({ ...mount, target: normaliseTarget(mount.type, mount.target) })),
  };
}

function defaultHostname(parts: Parts, id: string, { network, namespaces }: InstanceSpec): string {
  const joined = joinedInstance(network.mode);
  if (joined !== undefined) return resolveInstance(parts.records, joined).spec.hostname;
  const hosts = network.mode === "host" || namespaces.uts === "host";
  return hosts ? parts.host.facts.hostname : shortId(id);
}

/** "container:name" by id, since the other may be renamed. */
function withFullId(parts: Parts, mode: string): string {
  const joined = joinedInstance(mode);
  return joined === undefined ? mode : `container:${resolveInstance(parts.records, joined).id}`;
}

/** Networks by their names; the one that the mode names comes first, and has an endpoint whether or not one was stated. */
function canonicalNetworks(
  parts: Parts,
  { mode, endpoints }: InstanceNetworkSpec,
): Pick<InstanceNetworkSpec, "mode" | "endpoints"> {
  if (mode === "none" || mode === "host") return { mode, endpoints: {} };
  if (joinedInstance(mode) !== undefined) return { mode: withFullId(parts, mode), endpoints: {} };
  const nameOf = (network: string) => parts.networks.resolve(network).spec.name;
  const named = Object.fromEntries(Object.entries(endpoints).map(([network, spec]) => [nameOf(network), spec]));
  const first = nameOf(mode);
  return { mode: first, endpoints: { [first]: named[first] ?? { aliases: [] }, ...named } };
}

function nameAnonymousVolumes(spec: InstanceSpec): InstanceSpec {
  const named = (mount: MountSpec): MountSpec =>
    mount.type === "volume" && mount.name === ""
      ? { ...mount, name: randomBytes(32).toString("hex"), anonymous: true }
      : mount;
  return { ...spec, mounts: spec.mounts.map(named) };
}

function volumesToMake(parts: Parts, spec: InstanceSpec): readonly string[] {
  return spec.mounts.flatMap((mount) =>
    mount.type === "volume" && parts.volumes.get(mount.name) === undefined ? [mount.name] : [],
  );
}

async function createVolumes(
  parts: Parts,
  ctx: OpContext,
  id: string,
  spec: InstanceSpec,
  chainId: string,
  reverter: Reverter,
): Promise<void> {
  for (const mount of spec.mounts) {
    if (mount.type !== "volume") continue;
    await parts.volumes.create(ctx, {
      name: mount.name,
      driver: "local",
      options: mount.driverOptions ?? {},
      labels: mount.labels ?? {},
      anonymous: mount.anonymous,
      madeFor: id,
    });
    reverter.add(`remove the volume ${mount.name}`, (ctx) => removeOwnVolume(parts, ctx, id, mount.name));
    if (!mount.noCopy && (mount.subpath ?? "") === "") await copyUp(parts, ctx, mount.name, mount.target, chainId);
  }
}

/** A volume that a creation made goes with it when it fails, unless somebody else has asked for it since. */
export async function removeOwnVolume(parts: Parts, ctx: OpContext, id: string, name: string): Promise<void> {
  if (parts.volumes.get(name)?.madeFor === id) await parts.volumes.remove(ctx, name, true);
}

/** Fills an empty volume with what the image has at the mount's target; links on the way are followed inside the image. */
async function copyUp(parts: Parts, ctx: OpContext, volume: string, target: string, chainId: string): Promise<void> {
  const { mountpoint, options } = parts.volumes.require(volume);
  // Not empty is not filled: known at once, unless the files are on a device of the volume's own.
  if (chainId === "" || (options["device"] === undefined && (await readdir(mountpoint)).length > 0)) return;
  await using view = await parts.snapshotter.view(ctx, chainId);
  await using root = await parts.roots.open(ctx, view.root);
  const found = await resolveInRoot(ctx, root, target);
  if (found?.stat.kind !== "directory") return;
  await parts.volumes.copyUp(ctx, volume, join(view.root, found.path));
}

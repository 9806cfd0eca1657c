/**
 * The composition root: the only place that knows which implementation stands behind each interface. Opening an engine *is* its
 * recovery: what runs is found again, what was half done is finished or undone.
 */
import { join } from "node:path";
import type { DockerBackend } from "../api/docker/backend.ts";
import { ThreadConfinedRoots } from "../archive/thread-confined-roots.ts";
import { parseSize } from "../base/byte-size.ts";
import { isBerthError } from "../base/errors.ts";
import { type Logger, silentLogger } from "../base/logger.ts";
import { background, cleanupContext, type OpContext } from "../base/op-context.ts";
import { createBuildService } from "../build/builder.ts";
import type { BuildService } from "../build/build-service.ts";
import type { BuildKit } from "../buildkit/buildkit.ts";
import { FileContentStore } from "../content/file-content-store.ts";
import { QemuImgDisks } from "../disks/qemu-img-disks.ts";
import { startThreadPool } from "../host/confinement.ts";
import type { Host } from "../host/host.ts";
import { createLinuxHost } from "../host/linux-host.ts";
import { createImageService } from "../images/create-image-service.ts";
import type { ImageService } from "../images/image-service.ts";
import type { InstanceService } from "../instances/instance-service.ts";
import { MachineDriver } from "../instances/machine/machine-driver.ts";
import { createInstanceService, type InstanceManager } from "../instances/manager.ts";
import { createOciDriver } from "../instances/oci/oci-driver.ts";
import { cgroupParent } from "../instances/parts.ts";
import { BootParts } from "../instances/qemu/boot-parts.ts";
import { DiskReader } from "../instances/qemu/disk-reader.ts";
import type { MachinePool, PoolSettings } from "../instances/qemu/machine-pool.ts";
import { QemuDriver } from "../instances/qemu/qemu-driver.ts";
import type { Shortfall } from "../ledger/account.ts";
import { Ledger } from "../ledger/ledger.ts";
import { createMachineService } from "../machines/create-machine-service.ts";
import type { MachineService } from "../machines/machine-service.ts";
import { policyOf } from "../ledger/policy.ts";
import { Monitors } from "../qemu/monitors.ts";
import { GuestAgents } from "../qemu/qga-client.ts";
import { MachineImages } from "../osimages/machine-images.ts";
import { createNetworkService } from "../network/engine-networks.ts";
import type { NetworkService } from "../network/network-service.ts";
import type { CapacityReport } from "../schema/capacity.ts";
import type { EngineConfig } from "../schema/config.ts";
import { OverlaySnapshotter } from "../snapshots/overlay-snapshotter.ts";
import { EventBus } from "../state/events.ts";
import { openSqliteStore } from "../state/sqlite-store.ts";
import { createVolumeService } from "../volumes/local-volumes.ts";
import type { VolumeService } from "../volumes/volume-service.ts";
import type { CapacityOptions } from "./capacity.ts";
import { loadConfig } from "./config/load.ts";
import { preparePaths, statePath } from "./engine-paths.ts";
import { daemonErrors } from "./errors.ts";
import { guestBinaries } from "./guest-binaries.ts";
import { PeerEngine } from "./peer-engine.ts";
import { machineTotals } from "./machine-totals.ts";
import { System } from "./system.ts";

/** Settings of the engine (see `schema/config.ts`), all with defaults, and a logger. */
export interface EngineOptions extends Partial<EngineConfig> {
  readonly log?: Logger;
}

/**
 * Containers, images, networks, volumes and builds on this host: the library's face. Several can be open on one host, each with its
 * own data and run root.
 *
 *     await using engine = await Engine.open({ dataRoot: "/var/lib/mine", runRoot: "/run/mine" });
 *     await engine.images.pull(background(), { reference: "debian:bookworm" }, noProgress);
 *
 * Closing it leaves what runs running; the next engine on the same roots finds it again.
 */
export class Engine implements AsyncDisposable {
  /** 6 hexadecimal digits: in the name of everything that this engine makes on the host. */
  readonly tag: string;
  readonly config: EngineConfig;
  readonly images: ImageService;
  readonly instances: InstanceService;
  /** Whole-OS machines. */
  readonly machines: MachineService;
  readonly networks: NetworkService;
  readonly volumes: VolumeService;
  readonly builder: BuildService;
  readonly events: EventBus;
  /** What the API is served from. */
  readonly backend: DockerBackend;
  readonly #closers: AsyncDisposableStack;

  private constructor(config: EngineConfig, tag: string, backend: DockerBackend, closers: AsyncDisposableStack) {
    this.config = config;
    this.tag = tag;
    this.backend = backend;
    this.images = backend.images;
    this.instances = backend.instances;
    this.machines = backend.machines;
    this.networks = backend.networks;
    this.volumes = backend.volumes;
    this.builder = backend.builder;
    this.events = backend.events;
    this.#closers = closers;
  }

  /** Opens the engine on its roots. `NOT_ROOT`, `DIRECTORY_UNUSABLE`, `DATA_ROOT_LOCKED` when another works there. */
  static async open(options: EngineOptions = {}): Promise<Engine> {
    if (process.getuid?.() !== 0) throw daemonErrors.NOT_ROOT({});
    const { log = silentLogger, ...given } = options;
    const config: EngineConfig = { ...loadConfig({ environment: {}, flags: {} }).config, ...given };
    await using closers = new AsyncDisposableStack();
    const { tag, backend } = await assemble(config, log, closers);
    return new Engine(config, tag, backend, closers.move());
  }

  /** Who reserves how much of this machine, what is shared, and what is used now. */
  async capacity(ctx: OpContext, options: CapacityOptions = { verbose: false }): Promise<CapacityReport> {
    return await this.backend.system.capacity(ctx, options);
  }

  /** Lets go of everything in the order opposite to opening. What runs goes on. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closers.disposeAsync();
  }
}

/** Makes every room from the bottom up and lets each recover. What has to be closed again is put on `closers`. */
async function assemble(
  config: EngineConfig,
  log: Logger,
  closers: AsyncDisposableStack,
): Promise<{ readonly tag: string; readonly backend: DockerBackend }> {
  const ctx = background(log);
  await startThreadPool();
  const paths = preparePaths(config.dataRoot, config.runRoot);
  const { dataRoot, runRoot, tag } = paths;
  const host = closers.adopt(await createLinuxHost({ log }), (opened) => opened.close());
  closers.use(await lockRoot(host, dataRoot));
  const store = closers.use(openSqliteStore(statePath(paths)));
  const events = new EventBus();
  const roots = closers.use(new ThreadConfinedRoots({ processes: host.processes }));
  const content = new FileContentStore({ root: join(dataRoot, "content") });
  const snapshotter = closers.use(
    await OverlaySnapshotter.open(ctx, { root: join(dataRoot, "snapshots"), host, roots, log }),
  );

  // Images, volumes and the ledger ask who uses them; the answer is the instance room's, which is made after them.
  const users: { instances?: InstanceManager; pool?: MachinePool } = {};
  const ledger = new Ledger({
    totals: await machineTotals(host.facts, dataRoot),
    policy: policyOf(config),
    claims: () => [...(users.instances?.claims() ?? []), ...(users.pool?.claims() ?? [])],
    giveUp: (short) => giveUpWaiting(users.pool, short),
  });
  const machineParts = new BootParts({
    host,
    snapshotter,
    root: join(dataRoot, "machines"),
    binaries: guestBinaries(),
    kernelPackage: config.guestKernel,
    templateBytes: parseSize(config.machineTemplates) ?? 0,
    log,
  });
  const images = closers.use(
    createImageService({
      store,
      content,
      snapshotter,
      host,
      events,
      config,
      workDir: join(dataRoot, "work"),
      users: (id) => users.instances?.imageUsers(id) ?? [],
      layerRemoved: (chainId) => machineParts.forgetLayer(chainId),
    }),
  );
  const volumes = createVolumeService({
    store,
    host,
    roots,
    events,
    dataRoot,
    log,
    users: (name) => users.instances?.volumeUsers(name) ?? [],
  });
  const networks = closers.adopt(
    createNetworkService({ store, host, events, config, tag, runRoot, log }),
    async (service) => {
      await service.idleTearDown(cleanupContext(ctx));
      service.close();
    },
  );
  const parent = cgroupParent({ config, tag });
  const driver = await createOciDriver({ host, config, runRoot, cgroupParent: parent, log });
  const pool: PoolSettings = {
    size: config.machinePool,
    left: () => ledger.left().memory,
    isBusy: () => users.instances?.isStarting() === true,
  };
  const places = { runRoot, cgroupParent: parent };
  const machines = new QemuDriver({ host, containers: driver, parts: machineParts, pool, places, log });
  users.pool = machines.pool;
  const agents = new GuestAgents();
  const monitors = new Monitors();
  const hardware = new MachineDriver({ host, containers: driver, parts: machineParts, dataRoot, agents, monitors });
  const instances = closers.adopt(
    createInstanceService({
      store,
      events,
      host,
      images,
      snapshotter,
      roots,
      networks,
      volumes,
      ledger,
      drivers: [driver, machines, hardware],
      config,
      dataRoot,
      runRoot,
      tag,
      log,
    }),
    (service) => service.close(),
  );
  users.instances = instances;
  // Before the instances, whose control group its jails are in.
  closers.defer(() => machines.close());
  const builder = createBuildService({ store, images, instances, snapshotter, roots, host, events, dataRoot, log });

  const disks = new QemuImgDisks({ host });
  const machineImages = new MachineImages({
    host,
    images,
    snapshotter,
    roots,
    disks,
    root: join(dataRoot, "machines", "images-in-work"),
    kernelPackage: (ctx, progress) => machineParts.kernelPackage(ctx, progress),
    osinit: join(guestBinaries(), "osinit"),
  });
  const wholeMachines = createMachineService({
    host,
    disks,
    images,
    machineImages,
    diskReader: new DiskReader({ containers: driver, parts: machineParts, ledger, runRoot, cgroupParent: parent }),
    snapshotter,
    instances,
    networks,
    monitors,
    agents,
    events,
    peer: (address) => new PeerEngine(address),
    dataRoot,
    runRoot,
  });
  closers.defer(() => wholeMachines.close());

  await images.recover(ctx);
  await machineImages.recover(ctx);
  await instances.recover(ctx);
  await wholeMachines.recover(ctx);
  await builder.recover(ctx);
  machines.resumePool();

  const fingerprint = await driver.fingerprint(ctx);
  const capacity = {
    ledger,
    cgroups: host.cgroups,
    cgroupParent: parent,
    dataRoot,
    images,
    instances,
    snapshotter,
    volumes,
    machines: machineParts,
  };
  const system = new System({
    config,
    paths,
    host,
    networks,
    fingerprint,
    machines: (ctx) => machines.fingerprint(ctx),
    machinePool: machines.pool,
    machineTemplates: machineParts.templates,
    capacity,
    storageDriver: "overlay2",
  });
  const rooms = { images, instances, machines: wholeMachines, networks, volumes, builder, machineImages, events };
  let buildKit: Promise<BuildKit> | undefined;
  const loadBuildKit = async (): Promise<BuildKit> => {
    const { createBuildKit } = await import("../buildkit/buildkit.ts");
    const { id, version, architecture } = system.facts;
    return createBuildKit({
      builder,
      images,
      log,
      engine: { id, version, platform: { os: "linux", architecture }, snapshotter: snapshotter.name },
    });
  };
  return {
    tag,
    backend: { ...rooms, registry: images.registry, system, buildKit: () => (buildKit ??= loadBuildKit()) },
  };
}

/** What waits has memory, and nothing else that a claim could be short of. */
function giveUpWaiting(pool: MachinePool | undefined, short: readonly Shortfall[]): boolean {
  const [memory, ...others] = short;
  if (memory?.resource !== "memory" || others.length > 0) return false;
  return pool?.giveUp(memory.asked - memory.fits) === true;
}

async function lockRoot(host: Host, dataRoot: string): Promise<Disposable> {
  try {
    return await host.kernel.lock(join(dataRoot, "lock"));
  } catch (error) {
    if (isBerthError(error, "LOCK_HELD")) throw daemonErrors.DATA_ROOT_LOCKED({ dataRoot }, { cause: error });
    throw error;
  }
}

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createHash, randomInt } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { Value } from "typebox/value";
import { ThreadConfinedRoots } from "../../../src/archive/thread-confined-roots.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { background } from "../../../src/base/op-context.ts";
import { noProgress } from "../../../src/base/progress.ts";
import { FileContentStore } from "../../../src/content/file-content-store.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";
import { createImageService } from "../../../src/images/create-image-service.ts";
import { instanceSpec, type SpecOverrides } from "../../../src/instances/fake/instance-spec.ts";
import { instanceRequest } from "../../../src/instances/fake/test-engine.ts";
import type { LogLine, LogOptions } from "../../../src/instances/instance-service.ts";
import type { OutputFrame } from "../../../src/instances/driver.ts";
import { createInstanceService, type InstanceManager } from "../../../src/instances/manager.ts";
import { createOciDriver } from "../../../src/instances/oci/oci-driver.ts";
import { createNetworkService, type EngineNetworks } from "../../../src/network/engine-networks.ts";
import { machineTotals } from "../../../src/daemon/machine-totals.ts";
import type { Claim } from "../../../src/ledger/account.ts";
import { Ledger } from "../../../src/ledger/ledger.ts";
import { policyOf } from "../../../src/ledger/policy.ts";
import { EngineConfig } from "../../../src/schema/config.ts";
import type { EngineEvent } from "../../../src/schema/event.ts";
import { OverlaySnapshotter } from "../../../src/snapshots/overlay-snapshotter.ts";
import { EventBus } from "../../../src/state/events.ts";
import { openSqliteStore } from "../../../src/state/sqlite-store.ts";
import { createVolumeService } from "../../../src/volumes/local-volumes.ts";
import type { VolumeService } from "../../../src/volumes/volume-service.ts";
import type { ImageService } from "../../../src/images/image-service.ts";
import { assertNothingLeft } from "../../support/leaks.ts";
import { busyboxArchive } from "../../support/busybox-image.ts";

const ctx = background();

interface Rooms {
  readonly instances: InstanceManager;
  readonly images: ImageService;
  readonly volumes: VolumeService;
  readonly networks: EngineNetworks;
  /** Lets go as a dead process does: of what the kernel would take away, and of nothing else. */
  drop(): Promise<void>;
}

/** The rooms over the real kernel, on roots of their own; {@link kill} plays `kill -9` and a new engine. */
export class RealEngine implements AsyncDisposable {
  readonly ctx = ctx;
  readonly directory = mkdtempSync(join(tmpdir(), "berth-instances-"));
  readonly tag = createHash("sha256").update(this.directory).digest("hex").slice(0, 6);
  readonly events: EngineEvent[] = [];
  readonly #bip = `10.${randomInt(100, 250)}.${randomInt(0, 250)}.1/24`;
  #rooms: Rooms | undefined;

  static async open(): Promise<RealEngine> {
    const engine = new RealEngine();
    await engine.#open();
    const archive = await busyboxArchive({ tags: ["busybox:latest"] });
    await engine.images.load(ctx, Readable.from([archive]), noProgress);
    return engine;
  }

  get instances(): InstanceManager {
    return this.#require().instances;
  }

  get images(): ImageService {
    return this.#require().images;
  }

  get volumes(): VolumeService {
    return this.#require().volumes;
  }

  get networks(): EngineNetworks {
    return this.#require().networks;
  }

  /** The engine is gone without a word; `meanwhile` happens; a new one recovers. */
  async kill(meanwhile: () => Promise<void> = async () => {}): Promise<void> {
    await this.#require().drop();
    this.#rooms = undefined;
    await meanwhile();
    await this.#open();
  }

  async create(argv: readonly string[], overrides: SpecOverrides = {}): Promise<string> {
    const { record } = await this.instances.create(ctx, instanceRequest(argv, overrides));
    return record.id;
  }

  async run(argv: readonly string[], overrides: SpecOverrides = {}): Promise<string> {
    const id = await this.create(argv, overrides);
    await this.instances.start(ctx, id);
    return id;
  }

  async exitCode(id: string): Promise<number> {
    const { done } = await this.instances.wait(ctx, id, "not-running");
    return (await done).exitCode;
  }

  async logs(id: string, options: Partial<LogOptions> = {}): Promise<string> {
    const lines = await this.instances.logs(ctx, id, { stdout: true, stderr: true, follow: false, ...options });
    return await text(lines.map((line: LogLine) => Buffer.from(line.data)));
  }

  /** Output and exit code of a command in a running instance. */
  async exec(id: string, argv: readonly string[]): Promise<{ readonly output: string; readonly exitCode: number }> {
    const execId = await this.instances.execCreate(ctx, id, {
      argv,
      env: [],
      user: "",
      workingDir: "",
      tty: false,
      attachStdin: false,
      attachStdout: true,
      attachStderr: true,
      privileged: false,
      detachKeys: "",
    });
    const session = await this.instances.execStart(ctx, execId, { detach: false });
    const output = session === undefined ? "" : await textOf(session.output);
    for (let i = 0; i < 500 && this.instances.execInspect(execId).running; i++) await sleep(10);
    return { output, exitCode: this.instances.execInspect(execId).exitCode ?? -1 };
  }

  actions(id: string): readonly string[] {
    return this.events.filter(({ actorId }) => actorId === id).map(({ action }) => action);
  }

  /** Removes everything, then checks that nothing is left on the machine. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { instances, networks } = this.#require();
    for (const { id } of instances.list()) await instances.remove(ctx, id, { force: true, volumes: true });
    await instances.settled();
    await networks.removeAll(ctx);
    await this.#require().drop();
    rmSync(this.directory, { recursive: true, force: true });
    await assertNothingLeft({ tag: this.tag, directory: this.directory });
  }

  #require(): Rooms {
    if (this.#rooms === undefined) throw new Error("the engine is not open");
    return this.#rooms;
  }

  async #open(): Promise<void> {
    const dataRoot = join(this.directory, "data");
    const runRoot = join(this.directory, "run");
    mkdirSync(dataRoot, { recursive: true });
    mkdirSync(runRoot, { recursive: true });
    execFileSync("chmod", ["711", this.directory, runRoot]);
    const log = silentLogger;
    const config = {
      bip: this.#bip,
      bridge: "",
      mtu: 0,
      addressPools: [{ base: "10.251.0.0/16", size: 24 }],
      dns: [],
      dnsSearch: [],
      cgroupParent: "",
      runtime: "auto",
      registryMirrors: [],
      insecureRegistries: [],
      maxConcurrentDownloads: 3,
      maxConcurrentUploads: 3,
    };
    const host = await createLinuxHost({ log });
    const store = openSqliteStore(join(dataRoot, "state.db"));
    const events = new EventBus();
    events.subscribe((event) => this.events.push(event));
    const roots = new ThreadConfinedRoots({ processes: host.processes });
    const snapshotter = await OverlaySnapshotter.open(ctx, { root: join(dataRoot, "snapshots"), host, roots, log });
    const images = createImageService({
      store,
      snapshotter,
      host,
      events,
      config,
      workDir: join(dataRoot, "work"),
      content: new FileContentStore({ root: join(dataRoot, "content") }),
      users: (id) => instances.imageUsers(id),
    });
    const volumes = createVolumeService({
      store,
      host,
      roots,
      events,
      dataRoot,
      log,
      users: (name) => instances.volumeUsers(name),
    });
    const networks = createNetworkService({ store, host, events, config, tag: this.tag, runRoot, log });
    const driver = await createOciDriver({ host, config, runRoot, cgroupParent: `/berth-${this.tag}`, log });
    const instances: InstanceManager = createInstanceService({
      store,
      events,
      host,
      images,
      snapshotter,
      roots,
      networks,
      volumes,
      ledger: new Ledger({
        totals: await machineTotals(host.facts, dataRoot),
        policy: policyOf(Value.Create(EngineConfig)),
        claims: (): readonly Claim[] => instances.claims(),
      }),
      drivers: [driver],
      config,
      dataRoot,
      runRoot,
      tag: this.tag,
      log,
    });
    await images.recover(ctx);
    await instances.recover(ctx);
    this.#rooms = {
      instances,
      images,
      volumes,
      networks,
      drop: async () => {
        await instances.close();
        networks.close();
        images[Symbol.dispose]();
        await snapshotter[Symbol.asyncDispose]();
        await roots[Symbol.asyncDispose]();
        store[Symbol.dispose]();
        await host.close();
      },
    };
  }
}

/** On a network of the engine's; `ports` publishes. */
export function onNetwork(
  mode: string,
  change: Partial<ReturnType<typeof instanceSpec>["network"]> = {},
): SpecOverrides {
  return { network: { ...instanceSpec([]).network, mode, ...change } };
}

export async function textOf(output: Readable): Promise<string> {
  return await text(output.map((frame: OutputFrame) => Buffer.from(frame.data)));
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

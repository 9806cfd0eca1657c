import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConfinedRoots } from "../../archive/confined-root.ts";
import type { Clock } from "../../base/clock.ts";
import { silentLogger } from "../../base/logger.ts";
import { background } from "../../base/op-context.ts";
import type { Claim } from "../../ledger/account.ts";
import { FakeHost } from "../../host/fake/fake-host.ts";
import { Ledger } from "../../ledger/ledger.ts";
import { type Policy, policyOf } from "../../ledger/policy.ts";
import type { Quantities } from "../../schema/capacity.ts";
import type { EngineEvent } from "../../schema/event.ts";
import { EventBus } from "../../state/events.ts";
import { MemoryStore } from "../../state/fake/memory-store.ts";
import type { DriverInside, DriverNetworks } from "../driver.ts";
import type { InstanceRequest } from "../instance-service.ts";
import { createInstanceService, type InstanceManager } from "../manager.ts";
import { ImagesDouble, NetworksDouble, plainRoots, SnapshotsDouble, VolumesDouble } from "./doubles.ts";
import { FakeDriver, FakeMachine } from "./fake-driver.ts";
import { instanceSpec, type SpecOverrides } from "./instance-spec.ts";

/** The instance service over fakes: what a machine and a disk would keep outlives {@link restart}, as after `kill -9`. */
export class TestEngine implements AsyncDisposable {
  readonly ctx = background();
  readonly dir = mkdtempSync(join(tmpdir(), "berth-instances-"));
  readonly store = new MemoryStore();
  readonly host = new FakeHost();
  readonly machine = new FakeMachine();
  readonly images = new ImagesDouble();
  readonly networks = new NetworksDouble();
  readonly snapshots = new SnapshotsDouble(join(this.dir, "snapshots"));
  readonly volumes = new VolumesDouble(join(this.dir, "volumes"));
  readonly events: EngineEvent[] = [];
  /** What the ledger takes the machine for; a test may make it smaller. */
  totals: Quantities = { cpu: 4e9, memory: 8 * 1024 ** 3, pids: 32_768, disk: 100 * 1024 ** 3 };
  policy: Policy = policyOf({
    overcommitCpu: 16,
    overcommitMemory: 1,
    overcommitPids: 16,
    overcommitDisk: 2,
    reservedMemory: "0",
    reservedDisk: "0",
  });
  readonly #clock: Clock | undefined;
  readonly #roots: ConfinedRoots;
  readonly #inside: DriverInside | undefined;
  readonly #networks: DriverNetworks | undefined;
  driver: FakeDriver;
  service: InstanceManager;

  constructor(
    options: {
      readonly clock?: Clock;
      readonly roots?: ConfinedRoots;
      readonly inside?: DriverInside;
      readonly networks?: DriverNetworks;
    } = {},
  ) {
    this.#inside = options.inside;
    this.#networks = options.networks;
    this.driver = new FakeDriver(this.machine, this.#inside, this.#networks);
    this.#clock = options.clock;
    this.#roots = options.roots ?? plainRoots;
    mkdirSync(join(this.dir, "snapshots"));
    this.service = this.#make();
  }

  /** Drops the service without closing it, and makes another over what is left. */
  async restart(): Promise<void> {
    this.driver = new FakeDriver(this.machine, this.#inside, this.#networks);
    this.service = this.#make();
    await this.service.recover(this.ctx);
  }

  /** `docker create`: the id. */
  async create(argv: readonly string[], overrides: SpecOverrides = {}): Promise<string> {
    const { record } = await this.service.create(this.ctx, instanceRequest(argv, overrides));
    return record.id;
  }

  async run(argv: readonly string[], overrides: SpecOverrides = {}): Promise<string> {
    const id = await this.create(argv, overrides);
    await this.service.start(this.ctx, id);
    return id;
  }

  /** Actions of an instance's events so far. */
  actions(id: string): readonly string[] {
    return this.events.filter((event) => event.actorId === id).map(({ action }) => action);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service.close();
    for (const task of this.machine.tasks.values()) task.main.exit(137);
    rmSync(this.dir, { recursive: true, force: true });
  }

  #make(): InstanceManager {
    const events = new EventBus();
    events.subscribe((event) => this.events.push(event));
    const ledger = new Ledger({
      totals: () => this.totals,
      policy: this.policy,
      claims: (): readonly Claim[] => service.claims(),
    });
    const service: InstanceManager = createInstanceService({
      ledger,
      store: this.store,
      events,
      host: this.host,
      images: this.images.service(),
      snapshotter: this.snapshots.service(),
      roots: this.#roots,
      networks: this.networks.service(),
      volumes: this.volumes.service(),
      drivers: [this.driver],
      config: { cgroupParent: "", dns: [], dnsSearch: [] },
      dataRoot: join(this.dir, "data"),
      runRoot: join(this.dir, "run"),
      tag: "abc123",
      log: silentLogger,
      ...(this.#clock === undefined ? {} : { clock: this.#clock }),
    });
    this.volumes.users = (name) => service.volumeUsers(name);
    return service;
  }
}

/** What `docker create busybox ARGV…` asks for. */
export function instanceRequest(argv: readonly string[], overrides: SpecOverrides = {}): InstanceRequest {
  const spec = instanceSpec(argv, { name: "", ...overrides });
  return { ...spec, process: { ...spec.process, entrypoint: null, cmd: [...argv] } };
}

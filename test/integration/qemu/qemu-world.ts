import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { silentLogger } from "../../../src/base/logger.ts";
import type { Driver, PrepareRequest } from "../../../src/instances/driver.ts";
import type { DriverWorld } from "../../../src/instances/driver.contract.ts";
import { BootParts } from "../../../src/instances/qemu/boot-parts.ts";
import { QemuDriver } from "../../../src/instances/qemu/qemu-driver.ts";
import type { InstanceSpec } from "../../../src/schema/instance.ts";
import { OciWorld } from "../oci/oci-world.ts";

/** Where kernel and disks are made, once for all tests of a file, and the guest's binaries. */
export interface QemuWorldOptions {
  readonly root: string;
  readonly binaries: string;
  readonly kernelPackage: string;
  /** 0 boots all machines. */
  readonly templateBytes: number;
}

/** Machines for one test, in jails of a world of containers. */
export class QemuWorld implements DriverWorld {
  readonly driver: QemuDriver;
  readonly #containers: OciWorld;
  readonly #options: QemuWorldOptions;
  readonly #drivers: QemuDriver[] = [];

  private constructor(containers: OciWorld, options: QemuWorldOptions) {
    this.#containers = containers;
    this.#options = options;
    this.driver = this.#driver(containers.driver);
  }

  static async open(options: QemuWorldOptions): Promise<QemuWorld> {
    return new QemuWorld(await OciWorld.open("auto"), options);
  }

  async reopen(): Promise<Driver> {
    return this.#driver(await this.#containers.reopen());
  }

  async request(spec: InstanceSpec, overrides: Partial<PrepareRequest> = {}): Promise<PrepareRequest> {
    const request = await this.#containers.request(spec, overrides);
    const dataDir = join(this.#containers.dir, "data", request.id);
    await mkdir(dataDir, { recursive: true });
    return { ...request, chainId: "sha256:busybox", dataDir };
  }

  async remains(id: string): Promise<readonly string[]> {
    return await this.#containers.remains(id);
  }

  /** A template of the first machine is made to its end: the next world's machines are restored from it. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const driver of this.#drivers) await driver.settled();
    await this.#containers[Symbol.asyncDispose]();
  }

  #driver(containers: Driver): QemuDriver {
    const view = async () => ({ root: join(this.#containers.dir, "rootfs"), [Symbol.asyncDispose]: async () => {} });
    const { host } = this.#containers;
    const snapshotter = { view, hasLayer: async () => true };
    const pool = { size: 0, left: () => 0, isBusy: () => false };
    const places = { runRoot: join(this.#containers.dir, "run"), cgroupParent: "/berth-test" };
    const parts = new BootParts({ host, snapshotter, log: silentLogger, ...this.#options });
    const driver = new QemuDriver({ host, containers, parts, pool, places, log: silentLogger });
    this.#drivers.push(driver);
    return driver;
  }
}

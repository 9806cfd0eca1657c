import { mkdir } from "node:fs/promises";
import { join } from "node:path";
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
}

/** Machines for one test, in jails of a world of containers. */
export class QemuWorld implements DriverWorld {
  readonly driver: Driver;
  readonly #containers: OciWorld;
  readonly #options: QemuWorldOptions;

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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#containers[Symbol.asyncDispose]();
  }

  #driver(containers: Driver): Driver {
    const view = async () => ({ root: join(this.#containers.dir, "rootfs"), [Symbol.asyncDispose]: async () => {} });
    const { host } = this.#containers;
    const parts = new BootParts({ host, snapshotter: { view, hasLayer: async () => true }, ...this.#options });
    return new QemuDriver({ host, containers, parts });
  }
}

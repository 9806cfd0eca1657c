/** What can be done to machines that run, over Berth's own API. */
import type { MachineNic } from "../schema/machine.ts";
import type { MachineView } from "../schema/machine-api.ts";
import type {
  AttachDiskBody,
  AttachNicBody,
  BackupReport,
  ChangeReport,
  CloneMachineBody,
  CreateSnapshotBody,
  MachineSnapshot,
  MediumBody,
  PressKeysBody,
  ResizeMachineBody,
  RevertSnapshotBody,
  SaveMachineBody,
} from "../schema/machine-live-api.ts";
import type { EngineClient } from "./engine-client.ts";

export class LiveMachinesClient {
  readonly #client: EngineClient;

  constructor(client: EngineClient) {
    this.#client = client;
  }

  async snapshots(machine: string): Promise<readonly MachineSnapshot[]> {
    const { snapshots } = await this.#client.call<{ readonly snapshots: readonly MachineSnapshot[] }>(
      "GET",
      path(machine, "snapshots"),
    );
    return snapshots;
  }

  async createSnapshot(machine: string, body: CreateSnapshotBody): Promise<MachineSnapshot> {
    return await this.#client.call("POST", path(machine, "snapshots"), { body });
  }

  async revert(machine: string, snapshot: string, body: RevertSnapshotBody): Promise<void> {
    await this.#client.call("POST", path(machine, "snapshots/revert"), { query: { snapshot }, body });
  }

  async removeSnapshot(machine: string, snapshot: string): Promise<void> {
    await this.#client.call("DELETE", path(machine, "snapshots"), { query: { snapshot } });
  }

  async save(machine: string, body: SaveMachineBody): Promise<void> {
    await this.#client.call("POST", path(machine, "save"), { body });
  }

  /** PNG. */
  async screenshot(machine: string): Promise<Buffer> {
    const { body } = await this.#client.stream("GET", path(machine, "screenshot"));
    const pieces: Buffer[] = [];
    for await (const piece of body) pieces.push(Buffer.from(piece));
    return Buffer.concat(pieces);
  }

  async pressKeys(machine: string, body: PressKeysBody): Promise<void> {
    await this.#client.call("POST", path(machine, "keys"), { body });
  }

  async attachDisk(machine: string, body: AttachDiskBody): Promise<void> {
    await this.#client.call("POST", path(machine, "disks"), { body });
  }

  async detachDisk(machine: string, disk: string, options: { readonly delete: boolean }): Promise<void> {
    await this.#client.call("DELETE", path(machine, "disks"), { query: { disk, ...options } });
  }

  async attachNic(machine: string, body: AttachNicBody): Promise<MachineNic> {
    return await this.#client.call("POST", path(machine, "nics"), { body });
  }

  async detachNic(machine: string, nic: string): Promise<void> {
    await this.#client.call("DELETE", path(machine, "nics"), { query: { nic } });
  }

  async changeMedium(machine: string, body: MediumBody): Promise<void> {
    await this.#client.call("POST", path(machine, "medium"), { body });
  }

  async setBootOrder(machine: string, order: readonly string[]): Promise<void> {
    await this.#client.call("POST", path(machine, "boot"), { body: { order } });
  }

  async resize(machine: string, body: ResizeMachineBody): Promise<ChangeReport> {
    return await this.#client.call("POST", path(machine, "resize"), { body });
  }

  async clone(machine: string, body: CloneMachineBody): Promise<MachineView> {
    return await this.#client.call("POST", path(machine, "clone"), { body });
  }

  async backUp(machine: string, directory: string): Promise<BackupReport> {
    return await this.#client.call("POST", path(machine, "backup"), { body: { directory } });
  }
}

const path = (machine: string, verb: string) => `/berth/v1/machines/${encodeURIComponent(machine)}/${verb}`;

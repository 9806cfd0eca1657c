/** Whole-OS machines over Berth's own API. Console, logs, commands and files are those of Docker's: see {@link EngineClient}. */
import type { Readable } from "node:stream";
import type {
  CreateMachineBody,
  GuestAddresses,
  MachineView,
  StopMachineAnswer,
  StopMachineBody,
} from "../schema/machine-api.ts";
import type { EngineClient } from "./engine-client.ts";

const root = "/berth/v1/machines";

export class MachinesClient {
  readonly #client: EngineClient;

  constructor(client: EngineClient) {
    this.#client = client;
  }

  /** Progress messages, the last of which has the {@link MachineView} as `aux`. */
  async create(body: CreateMachineBody, signal?: AbortSignal): Promise<Readable> {
    const answer = await this.#client.stream("POST", root, { body, ...(signal === undefined ? {} : { signal }) });
    return answer.body;
  }

  async list(): Promise<readonly MachineView[]> {
    const { machines } = await this.#client.call<{ readonly machines: readonly MachineView[] }>("GET", root);
    return machines;
  }

  async inspect(name: string): Promise<MachineView> {
    return await this.#client.call("GET", path(name));
  }

  async start(name: string): Promise<void> {
    await this.#client.call("POST", `${path(name)}/start`);
  }

  async stop(name: string, body: StopMachineBody): Promise<StopMachineAnswer> {
    return await this.#client.call("POST", `${path(name)}/stop`, { body });
  }

  async reset(name: string): Promise<void> {
    await this.#client.call("POST", `${path(name)}/reset`);
  }

  async rename(name: string, newName: string): Promise<void> {
    await this.#client.call("POST", `${path(name)}/rename`, { body: { name: newName } });
  }

  async remove(name: string, options: { readonly force: boolean }): Promise<void> {
    await this.#client.call("DELETE", path(name), { query: { force: options.force } });
  }

  async addresses(name: string): Promise<GuestAddresses> {
    return await this.#client.call("GET", `${path(name)}/addresses`);
  }
}

function path(name: string): string {
  return `${root}/${encodeURIComponent(name)}`;
}

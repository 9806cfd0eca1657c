import type { Readable } from "node:stream";
import type { EngineClient } from "./engine-client.ts";

/** Machines as files, in and out. */
export class MachineExchangeClient {
  readonly #client: EngineClient;

  constructor(client: EngineClient) {
    this.#client = client;
  }

  /** The file's bytes. */
  async export(
    name: string,
    query: { readonly format: string; readonly disk?: string },
    signal?: AbortSignal,
  ): Promise<Readable> {
    const path = `/berth/v1/machines/${encodeURIComponent(name)}/export`;
    const { body } = await this.#client.stream("GET", path, { query, ...(signal === undefined ? {} : { signal }) });
    return body;
  }

  /** Progress messages, the last of which has the machine as `aux`. */
  async import(
    query: {
      readonly name: string;
      readonly file: string;
      readonly networks: readonly string[];
      readonly start: boolean;
    },
    body: Readable,
    signal?: AbortSignal,
  ): Promise<Readable> {
    const headers = { "Content-Type": "application/x-tar" };
    const options = { query, body, headers, ...(signal === undefined ? {} : { signal }) };
    return (await this.#client.stream("POST", "/berth/v1/machines/import", options)).body;
  }
}

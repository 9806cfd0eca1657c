/** Another engine, by its API: where a running machine is moved to. */
import type { Duplex } from "node:stream";
import { Check } from "typebox/value";
import { isBerthError } from "../base/errors.ts";
import { type OpContext, withTimeout } from "../base/op-context.ts";
import { EngineClient } from "../client/engine-client.ts";
import { jsonValues } from "../client/json-lines.ts";
import type { Arrival, MigrationPeer, TransferChannel } from "../machines/migrate/peer.ts";
import { ArrivalReady, ArrivalState, type MachineTransfer } from "../schema/machine-migrate-api.ts";
import type { PortSpec } from "../schema/network.ts";
import { daemonErrors } from "./errors.ts";

const root = "/berth/v1/migrations";
/** For an answer that no work comes before. */
const answerMs = 10_000;
/** For the last of the memory to be taken in, and the guest to go on. */
const finishMs = 120_000;

export class PeerEngine implements MigrationPeer {
  readonly #client: EngineClient;

  constructor(address: string) {
    this.#client = new EngineClient(address);
  }

  async send(ctx: OpContext, transfer: MachineTransfer): Promise<Arrival> {
    const leaving = new AbortController();
    const signal = AbortSignal.any([ctx.signal, leaving.signal]);
    const { body } = await this.#client.stream("POST", root, { body: transfer, signal });
    const messages = jsonValues(body);
    const first: unknown = (await messages.next()).value;
    const ready = typeof first === "object" && first !== null && "aux" in first ? first.aux : undefined;
    if (!Check(ArrivalReady, ready)) {
      leaving.abort();
      throw daemonErrors.PEER_ANSWER_INVALID({ host: this.#client.host });
    }
    // Its end is the machine's arrival, or the end of that engine: `finish` tells.
    readOut(messages).catch(() => {});
    return {
      ready,
      connect: (own, channel) => this.#connect(own, ready.id, channel),
      finish: async (own) => {
        await this.#client.call("POST", `${root}/${ready.id}/finish`, { signal: withTimeout(own, finishMs).signal });
      },
      [Symbol.dispose]: () => leaving.abort(),
    };
  }

  async stateOf(ctx: OpContext, id: string): Promise<ArrivalState["state"] | "gone"> {
    try {
      const found = await this.#client.call("GET", `${root}/${id}`, { signal: withTimeout(ctx, answerMs).signal });
      if (!Check(ArrivalState, found)) throw daemonErrors.PEER_ANSWER_INVALID({ host: this.#client.host });
      return found.state;
    } catch (error) {
      if (isBerthError(error, "MIGRATION_NOT_FOUND")) return "gone";
      throw error;
    }
  }

  async cancel(ctx: OpContext, id: string): Promise<void> {
    await this.#client.call("DELETE", `${root}/${id}`, { signal: withTimeout(ctx, answerMs).signal });
  }

  async publish(ctx: OpContext, id: string, ports: readonly PortSpec[]): Promise<void> {
    const { signal } = withTimeout(ctx, answerMs);
    await this.#client.call("POST", `/berth/v1/containers/${id}/ports`, { body: { ports }, signal });
  }

  async #connect(ctx: OpContext, id: string, channel: TransferChannel): Promise<Duplex> {
    const options = { query: { channel }, signal: ctx.signal };
    const { socket, head } = await this.#client.upgrade("POST", `${root}/${id}/stream`, options);
    if (head.length > 0) socket.unshift(head);
    return socket;
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

async function readOut(messages: AsyncGenerator): Promise<void> {
  for await (const _ of messages);
}

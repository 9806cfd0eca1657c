/** Connections on which builds' clients serve their files, secrets and credentials (`POST /session`). */
import type { Duplex } from "node:stream";
import type { OpContext } from "../../base/op-context.ts";
import { buildKitErrors } from "../errors.ts";
import { GrpcClient } from "../grpc/client.ts";

export interface ClientSession {
  readonly id: string;
  readonly client: GrpcClient;
  /** Aborted when the connection is closed. */
  readonly closed: AbortSignal;
  /** By path, "/moby.filesync.v1.FileSync/DiffCopy". */
  supports(method: string): boolean;
}

const sessionLimit = 256;
/** A build's request may come before its session's. */
const patienceMs = 10_000;

export class Sessions {
  readonly #open = new Map<string, ClientSession>();
  readonly #waiting = new Map<string, Set<(session: ClientSession) => void>>();

  /** Throws for a session that can't be taken, as long as the connection still speaks HTTP. */
  check(id: string): void {
    if (id === "" || id.length > 256)
      throw buildKitErrors.BUILDKIT_OPTION_INVALID({ option: "the session's id", value: id });
    if (this.#open.has(id)) throw buildKitErrors.BUILDKIT_SESSION_EXISTS({ id });
    if (this.#open.size >= sessionLimit) throw buildKitErrors.BUILDKIT_SESSIONS_TOO_MANY({ limit: sessionLimit });
  }

  /** Until the connection closes. */
  async serve(id: string, methods: readonly string[], socket: Duplex): Promise<void> {
    this.check(id);
    const supported = new Set(methods.map((method) => method.toLowerCase()));
    const closed = new AbortController();
    const ended = Promise.withResolvers<void>();
    const client = new GrpcClient(socket);
    const session: ClientSession = {
      id,
      client,
      closed: closed.signal,
      supports: (method) => supported.has(method.toLowerCase()),
    };
    this.#open.set(id, session);
    for (const resolve of this.#waiting.get(id) ?? []) resolve(session);
    this.#waiting.delete(id);
    // The socket may be half open; a client that sends nothing more is gone.
    socket.once("end", () => client.close()).once("close", () => client.close());
    client.onClose(() => {
      this.#open.delete(id);
      closed.abort(buildKitErrors.BUILDKIT_SESSION_NOT_FOUND({ id }));
      socket.destroy();
      ended.resolve();
    });
    await ended.promise;
  }

  /** Waits a while for a session that is not there yet. */
  async get(ctx: OpContext, id: string): Promise<ClientSession> {
    const session = this.#open.get(id);
    if (session !== undefined) return session;
    const { promise, resolve, reject } = Promise.withResolvers<ClientSession>();
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting.add(resolve));
    const giveUp = (): void => reject(buildKitErrors.BUILDKIT_SESSION_NOT_FOUND({ id }));
    const timer = setTimeout(giveUp, patienceMs);
    ctx.signal.addEventListener("abort", giveUp, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      ctx.signal.removeEventListener("abort", giveUp);
      waiting.delete(resolve);
      if (waiting.size === 0) this.#waiting.delete(id);
    }
  }
}

/**
 * A client of qemu-guest-agent (docs/interop/qemu-ga-ref in QEMU's sources) on a machine's virtio-serial port. The agent is the guest's:
 * its answers may be late, never, huge, or lies. QEMU lets one connection at a time through to it, so that there is one client a machine
 * ({@link GuestAgents}), which keeps its connection a while: for each new one the agent sleeps 100 ms.
 */
import { messageOf } from "../base/errors.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { OpContext } from "../base/op-context.ts";
import { errnoOf } from "../host/errors.ts";
import { isRefusal } from "./command-error.ts";
import { qemuErrors } from "./errors.ts";
import type { JsonObject } from "./json-lines.ts";
import { QgaConnection } from "./qga-connection.ts";
import { booleanOf, listOf, numberOf, objectOf, ReplyShapeError, stringOf } from "./reply.ts";
import { connectUnix } from "./unix-socket.ts";

const defaultLimitMs = 10_000;
/** Flushing file systems on an emulated machine that is busy. */
const freezeLimitMs = 60_000;
const idleMs = 5_000;

export interface AgentInfo {
  readonly version: string;
  /** Commands that are there and not switched off. */
  readonly commands: ReadonlySet<string>;
}

export interface GuestInterface {
  readonly name: string;
  /** "" where it has none. */
  readonly mac: string;
  /** "10.0.0.5/24", "fe80::1/64". */
  readonly addresses: readonly string[];
}

export interface GuestAgentOptions {
  /** Called when the connection was closed for want of requests. */
  readonly onIdle?: () => void;
  readonly idleMs?: number;
}

export class GuestAgent implements Disposable {
  readonly #socketPath: string;
  readonly #onIdle: () => void;
  readonly #idleMs: number;
  readonly #turns = new KeyedMutex();
  #connection: QgaConnection | undefined;
  #idle: NodeJS.Timeout | undefined;
  #asking = 0;

  constructor(socketPath: string, options: GuestAgentOptions = {}) {
    this.#socketPath = socketPath;
    this.#onIdle = options.onIdle ?? (() => {});
    this.#idleMs = options.idleMs ?? idleMs;
  }

  /**
   * One command, after the others that were asked for before it. `QGA_UNREACHABLE`, `QGA_SILENT`, `QGA_LOST`; a refusal is a
   * {@link CommandError} (`QGA_REFUSED`).
   */
  async execute(ctx: OpContext, command: string, args: JsonObject = {}, limitMs = defaultLimitMs): Promise<unknown> {
    this.#asking++;
    clearTimeout(this.#idle);
    using _turn = await this.#turns.acquire("");
    try {
      ctx.signal.throwIfAborted();
      const connection = await this.#connected(ctx, limitMs);
      return await connection.execute(ctx, command, args, limitMs);
    } finally {
      this.#asking--;
      if (this.#asking === 0) this.#idle = setTimeout(() => this.#leave(), this.#idleMs).unref();
    }
  }

  /** Whether it answers within `limitMs`. */
  async isThere(ctx: OpContext, limitMs = 1000): Promise<boolean> {
    try {
      await this.execute(ctx, "guest-ping", {}, limitMs);
      return true;
    } catch (error) {
      ctx.signal.throwIfAborted();
      return isRefusal(error); // Who refuses is there.
    }
  }

  async info(ctx: OpContext): Promise<AgentInfo> {
    return await this.#read(ctx, "guest-info", {}, (reply) => {
      const info = objectOf(reply, "return");
      const commands = listOf(info["supported_commands"], "supported_commands").flatMap((each) => {
        const command = objectOf(each, "a command");
        return command["enabled"] === true ? [stringOf(command["name"], "its name")] : [];
      });
      return { version: stringOf(info["version"], "version"), commands: new Set(commands) };
    });
  }

  async interfaces(ctx: OpContext): Promise<readonly GuestInterface[]> {
    return await this.#read(ctx, "guest-network-get-interfaces", {}, (reply) =>
      listOf(reply, "return").map((each): GuestInterface => {
        const found = objectOf(each, "an interface");
        const addresses = listOf(found["ip-addresses"] ?? [], "ip-addresses").map((one) => {
          const address = objectOf(one, "an address");
          return `${stringOf(address["ip-address"], "ip-address")}/${numberOf(address["prefix"], "prefix")}`;
        });
        const mac = found["hardware-address"] ?? "";
        return { name: stringOf(found["name"], "name"), mac: stringOf(mac, "hardware-address"), addresses };
      }),
    );
  }

  /** Flushes and freezes the guest's file systems; how many. Nothing in it can write until {@link thaw}. */
  async freeze(ctx: OpContext): Promise<number> {
    return await this.#read(ctx, "guest-fsfreeze-freeze", {}, (reply) => numberOf(reply, "return"), freezeLimitMs);
  }

  async thaw(ctx: OpContext): Promise<number> {
    return await this.#read(ctx, "guest-fsfreeze-thaw", {}, (reply) => numberOf(reply, "return"), freezeLimitMs);
  }

  async isFrozen(ctx: OpContext): Promise<boolean> {
    return await this.#read(ctx, "guest-fsfreeze-status", {}, (reply) => stringOf(reply, "return") === "frozen");
  }

  /** Begins it: the agent answers only when it refuses. */
  async shutdown(ctx: OpContext, mode: "powerdown" | "reboot" | "halt" = "powerdown"): Promise<void> {
    try {
      await this.execute(ctx, "guest-shutdown", { mode }, 1000);
    } catch (error) {
      ctx.signal.throwIfAborted();
      if (!isSilent(error, "guest-shutdown")) throw error;
    }
  }

  /** Sets the guest's clock, which stood still while the machine was saved or reverted. */
  async setTime(ctx: OpContext, nowMs: number): Promise<void> {
    // Nanoseconds are beyond what a double counts, and the agent takes any JSON integer: rounded to 128 ns.
    await this.execute(ctx, "guest-set-time", { time: Math.round(nowMs) * 1_000_000 });
  }

  /** Brings processors that were plugged in, and that the guest has found, into use; how many it has. */
  async onlineCpus(ctx: OpContext): Promise<number> {
    const cpus = await this.#read(ctx, "guest-get-vcpus", {}, (reply) =>
      listOf(reply, "return").map((each) => {
        const cpu = objectOf(each, "a processor");
        return { id: numberOf(cpu["logical-id"], "logical-id"), online: booleanOf(cpu["online"], "online") };
      }),
    );
    const off = cpus.filter(({ online }) => !online).map(({ id }) => ({ "logical-id": id, online: true }));
    if (off.length > 0) await this.execute(ctx, "guest-set-vcpus", { vcpus: off });
    return cpus.length;
  }

  /** Brings memory that was plugged in, and that the guest has found, into use; how many blocks of it there are. */
  async onlineMemory(ctx: OpContext): Promise<number> {
    const blocks = await this.#read(ctx, "guest-get-memory-blocks", {}, (reply) =>
      listOf(reply, "return").map((each) => {
        const block = objectOf(each, "a block");
        return { index: numberOf(block["phys-index"], "phys-index"), online: booleanOf(block["online"], "online") };
      }),
    );
    const off = blocks.filter(({ online }) => !online).map(({ index }) => ({ "phys-index": index, online: true }));
    if (off.length > 0) await this.execute(ctx, "guest-set-memory-blocks", { "mem-blks": off });
    return blocks.length;
  }

  close(): void {
    clearTimeout(this.#idle);
    this.#connection?.close();
    this.#connection = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #read<T>(
    ctx: OpContext,
    command: string,
    args: JsonObject,
    parse: (reply: unknown) => T,
    limitMs = defaultLimitMs,
  ): Promise<T> {
    return parseReply(command, await this.execute(ctx, command, args, limitMs), parse);
  }

  async #connected(ctx: OpContext, limitMs: number): Promise<QgaConnection> {
    if (this.#connection !== undefined && !this.#connection.isClosed) return this.#connection;
    try {
      const connection = new QgaConnection(await connectUnix(ctx, this.#socketPath));
      this.#connection = connection;
      await connection.synchronize(ctx, limitMs);
      return connection;
    } catch (error) {
      this.#connection?.close();
      if (errnoOf(error) === undefined) throw error;
      throw qemuErrors.QGA_UNREACHABLE({ socket: this.#socketPath, reason: messageOf(error) }, { cause: error });
    }
  }

  #leave(): void {
    this.close();
    this.#onIdle();
  }
}

/** The agents of all machines, one client each: whoever asks the same machine shares it. */
export class GuestAgents {
  readonly #agents = new Map<string, GuestAgent>();

  /** The client for the agent at `socketPath`; it connects with its first request. */
  at(socketPath: string): GuestAgent {
    const found = this.#agents.get(socketPath);
    if (found !== undefined) return found;
    const agent = new GuestAgent(socketPath, { onIdle: () => this.#agents.delete(socketPath) });
    this.#agents.set(socketPath, agent);
    return agent;
  }
}

/** `QGA_REPLY_INVALID` for an answer of another shape than the schema's. */
export function parseReply<T>(command: string, reply: unknown, parse: (reply: unknown) => T): T {
  try {
    return parse(reply);
  } catch (error) {
    if (!(error instanceof ReplyShapeError)) throw error;
    throw qemuErrors.QGA_REPLY_INVALID({ command, reason: error.message }, { cause: error });
  }
}

function isSilent(error: unknown, command: string): boolean {
  if (!(error instanceof Error) || !("code" in error)) return false;
  const isLost = error.code === "QGA_SILENT" || error.code === "QGA_LOST";
  return isLost && error.message.includes(command);
}

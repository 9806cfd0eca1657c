import { Socket } from "node:net";
import { finished } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { OpContext } from "../../base/op-context.ts";
import { hostErrors } from "../errors.ts";
import type { Child, RunRequest, RunResult, SpawnRequest } from "../host.ts";
import { withSystemDirectories } from "./program-path.ts";

const defaultTimeoutMs = 30_000;
const maxOutputBytes = 64 * 1024 * 1024;
/** How long output may still come after the end, from a grandchild that kept the pipe. */
const lingerMs = 200;

/**
 * Starts the request's program through `start`, feeds it, and keeps its output until it has ended. On a timeout or an
 * abort its whole process group is killed. `start` must make it a group leader.
 */
export async function runToEnd(
  ctx: OpContext,
  request: RunRequest,
  start: (request: SpawnRequest) => Promise<Child>,
): Promise<RunResult> {
  const [program] = request.argv;
  const timeoutMs = request.timeoutMs ?? defaultTimeoutMs;
  const child = await start({
    argv: request.argv,
    env: request.env ?? { PATH: withSystemDirectories(process.env["PATH"]), LC_ALL: "C" },
    ...(request.cwd === undefined ? {} : { cwd: request.cwd }),
    fds: {
      ...request.fds,
      ...(request.input === undefined ? {} : { 0: { kind: "pipe", parent: "writes" } }),
      1: { kind: "pipe", parent: "reads" },
      2: { kind: "pipe", parent: "reads" },
    },
  });

  const killer = new GroupKiller(child);
  using _timeout = killer.killAfter(timeoutMs, () => hostErrors.PROCESS_TIMEOUT({ program, timeoutMs }));
  using _abort = killer.killOnAbort(ctx.signal);
  const tooMuch = () => killer.kill(hostErrors.PROCESS_OUTPUT_TOO_LARGE({ program, bytes: maxOutputBytes }));
  const stdout = new Collector(child.pipes[1], tooMuch);
  const stderr = new Collector(child.pipes[2], tooMuch);
  if (request.input !== undefined) feed(child.pipes[0], request.input);

  const status = await child.exited;
  killer.ended();
  await Promise.race([Promise.all([stdout.end, stderr.end]), delay(lingerMs)]);
  stdout.close();
  stderr.close();
  if (killer.reason !== undefined) throw killer.reason;
  return {
    code: status.signal === 0 ? status.code : 128 + status.signal,
    stdout: stdout.text(),
    stderr: stderr.text(),
  };
}

/** Kills a child's process group, once, and remembers why. */
class GroupKiller {
  readonly #child: Child;
  #live = true;
  reason: unknown;

  constructor(child: Child) {
    this.#child = child;
  }

  kill(reason: unknown): void {
    if (!this.#live) return;
    this.#live = false;
    this.reason = reason;
    // Not reaped yet, so that the group's id is still the child's.
    process.kill(-this.#child.identity.pid, "SIGKILL");
  }

  ended(): void {
    this.#live = false;
  }

  killAfter(ms: number, reason: () => Error): Disposable {
    const timer = setTimeout(() => this.kill(reason()), ms);
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  }

  killOnAbort(signal: AbortSignal): Disposable {
    const abort = () => this.kill(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    return { [Symbol.dispose]: () => signal.removeEventListener("abort", abort) };
  }
}

/** Reads a pipe to its end. */
class Collector {
  readonly end: Promise<void>;
  readonly #socket: Socket;
  readonly #chunks: Buffer[] = [];
  #length = 0;

  constructor(fd: number | undefined, tooMuch: () => void) {
    // A socket, since fs reads of a pipe would each hold a thread of the pool until output comes.
    this.#socket = new Socket({ fd: fd ?? -1, readable: true, writable: false });
    this.#socket.on("data", (chunk: Buffer) => {
      this.#length += chunk.length;
      if (this.#length > maxOutputBytes) tooMuch();
      else this.#chunks.push(chunk);
    });
    this.end = finished(this.#socket, { writable: false }).catch(() => {});
  }

  close(): void {
    this.#socket.destroy();
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString("utf8");
  }
}

/** A program may end without having read its input: that is no error. */
function feed(fd: number | undefined, input: string | Uint8Array): void {
  const socket = new Socket({ fd: fd ?? -1, readable: false, writable: true });
  socket.on("error", () => socket.destroy());
  socket.end(input);
}

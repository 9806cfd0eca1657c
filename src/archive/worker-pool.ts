/** The archive workers: so many calls at a time, the others wait for their turn. */
import { availableParallelism } from "node:os";
import type { OpContext } from "../base/op-context.ts";
import { ArchiveThread } from "./archive-thread.ts";
import { IdleThreads } from "./idle-threads.ts";
import { SourceThread } from "./source-thread.ts";
import { Turns } from "../base/turns.ts";
import type { WorkerCall } from "./worker-protocol.ts";

export interface PooledThread<T> extends AsyncDisposable {
  readonly thread: T;
}

/**
 * A thread takes about 10 MiB, and more of them than cores make nothing faster. Each kind has turns of its own, so that
 * none can wait for one that waits for it: an extraction may be fed by a pack, and a pack by nothing; what is short ends
 * by itself. There are more turns for the long ones than cores, since a client may be slow to send or to take.
 */
export class WorkerPool implements AsyncDisposable {
  readonly #idle = new IdleThreads<ArchiveThread>(2);
  readonly #idleSources = new IdleThreads<SourceThread>(1);
  readonly #turns: Readonly<Record<Kind, Turns>>;

  constructor(cores = availableParallelism()) {
    const long = Math.max(6, 2 * cores);
    this.#turns = { short: new Turns(cores + 1), extract: new Turns(long), pack: new Turns(long) };
  }

  /** A thread that does nothing else until it is given back; waits, but no longer than the operation lasts. */
  async take(ctx: OpContext, method: WorkerCall["method"]): Promise<PooledThread<ArchiveThread>> {
    using unused = new DisposableStack();
    const turn = unused.use(await this.#turns[kindOf(method)].take(ctx.signal));
    const thread = this.#idle.take() ?? new ArchiveThread();
    unused.move();
    return {
      thread,
      [Symbol.asyncDispose]: async () => {
        using _ = turn;
        await this.#idle.giveBack(thread);
      },
    };
  }

  /** For an extraction that has its turn, so that there are not more of them. */
  takeSource(): PooledThread<SourceThread> {
    const thread = this.#idleSources.take() ?? new SourceThread();
    return { thread, [Symbol.asyncDispose]: () => this.#idleSources.giveBack(thread) };
  }

  /** Ends the idle threads. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#idle[Symbol.asyncDispose]();
    await this.#idleSources[Symbol.asyncDispose]();
  }
}

type Kind = "short" | "extract" | "pack";

function kindOf(method: WorkerCall["method"]): Kind {
  if (method === "spool") return "extract"; // fed by a client as well
  return method === "extract" || method === "pack" ? method : "short";
}

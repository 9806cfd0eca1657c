import type { ClientSession } from "./attach-session.ts";
import { WaitBoard } from "./wait-board.ts";

/** What is known of an instance in memory only: lost with the engine, and made again by recovery. */
export class LiveInstance {
  readonly waits = new WaitBoard();
  /** Sessions made before the start, to be connected before the first instruction. */
  readonly waitingSessions = new Set<ClientSession>();
  /** Variables of its process that no record may have. */
  secretEnv: readonly string[] = [];
  /** The present run; undefined while it does not run. */
  run: Run | undefined;
  /** A user asked it to stop: its next end is final, whatever the restart policy. */
  exitIsFinal = false;
  /** A user's restart is under way: `--rm` must not remove it in between. */
  restarting = false;
  /** Delay of the last restart by policy, milliseconds; 0 before the first. */
  restartDelayMs = 0;
  /** Its start is under way, which has its lock: aborted for it to be given up and undone. */
  starting: AbortController | undefined;
  /** Likewise of a machine made for its files. */
  opening: AbortController | undefined;
  /** Aborted to call a planned restart off. */
  plannedRestart: AbortController | undefined;
}

/** One run of the main process, from its start to the end of its clean-up. */
export interface Run {
  readonly startedAtMs: number;
  /** Aborted when it has ended: what follows the run (health checks, log rotation) stops. */
  readonly ended: AbortController;
}

/** By instance id, made when first asked for. */
export class LiveInstances {
  readonly #byId = new Map<string, LiveInstance>();

  of(id: string): LiveInstance {
    const known = this.#byId.get(id);
    if (known !== undefined) return known;
    const made = new LiveInstance();
    this.#byId.set(id, made);
    return made;
  }

  forget(id: string): void {
    this.#byId.delete(id);
  }

  all(): IteratorObject<LiveInstance> {
    return this.#byId.values();
  }
}

/** When the daemon gives memory back: once after each busy time, as soon as it is idle. */
import { performance } from "node:perf_hooks";

const lookEveryMs = 2_000;
/** Less of the main thread's time than this is idle: timers and a status poll. */
const idleShare = 0.02;
/** Work, in milliseconds of the main thread, after which giving back is worth while. */
const worthMs = 250;

export interface IdleMemoryOptions {
  readonly giveBack: () => Promise<void>;
  readonly onError: (error: unknown) => void;
}

/** What a look sees: how long the main thread worked since the look before, and its share of the time. */
export interface Look {
  readonly workedMs: number;
  readonly share: number;
}

/** Looks at the main thread's load now and then until it is disposed. Does not keep the process alive. */
export function giveBackWhenIdle({ giveBack, onError }: IdleMemoryOptions): Disposable {
  const isTime = idleAfterWork();
  let before = performance.eventLoopUtilization();
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization();
    const { active, utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    if (isTime({ workedMs: active, share: utilization })) giveBack().catch(onError);
  }, lookEveryMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** True at the first idle look after enough work, and then not before there was as much again. */
export function idleAfterWork(): (look: Look) => boolean {
  let worked = 0;
  return ({ workedMs, share }) => {
    worked += workedMs;
    if (share >= idleShare || worked < worthMs) return false;
    worked = 0;
    return true;
  };
}

/**
 * A failpoint stands in front of each effect on the world outside the process. Armed, it kills the engine there, lets the effect
 * fail or holds it up, so that a test can try what each moment of a crash leaves. Off, as always but in tests, it costs the test of
 * one boolean:
 *
 *     if (failpoints.on) await failpoints.before("file.rename", path);
 */
import { appendFileSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { hostErrors } from "./errors.ts";
import type { FailpointName } from "./failpoint-catalogue.ts";
import { type FailpointAction, type FailpointRule, parseFailpoints } from "./failpoint-spec.ts";
import { SyscallError } from "./syscall-error.ts";

export class Failpoints {
  /** Whether any is armed or traced: to be tested before anything else is computed. */
  on = false;
  #rules: readonly FailpointRule[] = [];
  #trace: string | undefined;
  readonly #hits = new Map<string, number>();

  /** Arms what `text` says (see `failpoint-spec.ts`) in place of what was armed; counts begin anew. `FAILPOINT_SPEC_INVALID`. */
  arm(text: string): void {
    const { rules, trace } = parseFailpoints(text);
    this.#rules = rules;
    this.#trace = trace;
    this.#hits.clear();
    this.on = rules.length > 0 || trace !== undefined;
    this.#note("armed", rules.map(({ name, hit }) => (hit === undefined ? name : `${name}#${hit}`)).join(" "));
  }

  /** In front of an effect on `detail`. Throws `failure()`, by default an EIO as a system call's, when the effect is to fail. */
  async before(name: FailpointName, detail: string, failure?: () => Error): Promise<void> {
    const action = this.#hit(name, detail);
    if (action?.kind === "delay") {
      // The timer keeps the process alive, as an effect under way does; Node's timers end at 2^31 - 1 ms.
      for (let rest = action.ms; rest > 0; rest -= longestTimerMs) await delay(Math.min(rest, longestTimerMs));
    } else if (action !== undefined) this.#strike(action, detail, failure);
  }

  /** The same in front of an effect of a call that can't wait: a delay blocks the thread, as a slow disk does. */
  beforeSync(name: FailpointName, detail: string, failure?: () => Error): void {
    const action = this.#hit(name, detail);
    if (action?.kind === "delay") block(action.ms);
    else if (action !== undefined) this.#strike(action, detail, failure);
  }

  #hit(name: FailpointName, detail: string): FailpointAction | undefined {
    const ofName = this.#count(name);
    const ofAll = this.#count("*");
    this.#note(name, detail);
    return this.#rules.find((rule) => {
      if (rule.name !== "*" && rule.name !== name) return false;
      return rule.hit === undefined || rule.hit === (rule.name === "*" ? ofAll : ofName);
    })?.action;
  }

  #strike(action: Exclude<FailpointAction, { kind: "delay" }>, detail: string, failure?: () => Error): void {
    if (action.kind === "fail") throw failure?.() ?? new SyscallError(detail, constants.errno.EIO, "failpoint");
    process.kill(process.pid, "SIGKILL");
    block(Number.POSITIVE_INFINITY);
  }

  #count(name: string): number {
    const hits = (this.#hits.get(name) ?? 0) + 1;
    this.#hits.set(name, hits);
    return hits;
  }

  /** Before the effect, and synchronously: the last line is where the engine died. */
  #note(name: string, detail: string): void {
    if (this.#trace !== undefined) appendFileSync(this.#trace, `${name} ${detail.replaceAll("\n", " ")}\n`);
  }
}

/** This process's failpoints: one set, for an effect knows no engine. Threads have none, what they do is asked for by the main one. */
export const failpoints = new Failpoints();

/**
 * Arms what `variable` (BERTH_FAILPOINTS) says. With `@FILE` it is read again on SIGUSR2: the way to arm a daemon that runs, which
 * only whoever started it so can do.
 */
export function armFailpoints(variable: string | undefined, log: Logger): void {
  if (variable === undefined || variable === "") return;
  log.warn({ spec: variable }, "failpoints are armed: this engine is made to fail");
  if (!variable.startsWith("@")) return failpoints.arm(variable);
  const path = variable.slice(1);
  failpoints.arm(readSpec(path));
  process.on("SIGUSR2", () => {
    try {
      failpoints.arm(readSpec(path));
    } catch (error) {
      log.error({ error: messageOf(error) }, "the failpoints stay as they were");
    }
  });
}

function readSpec(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw hostErrors.FAILPOINT_SPEC_INVALID({ part: `@${path}`, reason: messageOf(error) }, { cause: error });
  }
}

const longestTimerMs = 2 ** 31 - 1;

function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

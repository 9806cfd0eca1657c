/** Commands in the guest through its agent, which keeps their output until they have ended: nothing of it streams. */
import { type Clock, systemClock } from "../base/clock.ts";
import type { OpContext } from "../base/op-context.ts";
import { type GuestAgent, parseReply } from "./qga-client.ts";
import { booleanOf, numberOf, objectOf, stringOf } from "./reply.ts";

export interface GuestCommand {
  /** Program and arguments; the agent looks it up on its PATH. */
  readonly argv: readonly [string, ...string[]];
  /** "NAME=value"; the agent's own environment where there is none. */
  readonly env?: readonly string[];
  /** Its whole standard input. */
  readonly input?: Uint8Array;
  /** Whether output is kept; true by default. */
  readonly capture?: boolean;
}

export interface GuestExit {
  readonly code: number;
  /** What it was killed by; 0 when it ended by itself. */
  readonly signal: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** The agent keeps 16 MiB of each; more was lost. */
  readonly isTruncated: boolean;
}

const firstPollMs = 10;
const lastPollMs = 500;

/** Starts a command; its pid in the guest. Goes on when nobody asks for it. */
export async function startInGuest(ctx: OpContext, agent: GuestAgent, command: GuestCommand): Promise<number> {
  const [path, ...arg] = command.argv;
  const reply = await agent.execute(ctx, "guest-exec", {
    path,
    arg,
    ...(command.env === undefined ? {} : { env: command.env }),
    ...(command.input === undefined ? {} : { "input-data": Buffer.from(command.input).toString("base64") }),
    "capture-output": command.capture ?? true,
  });
  return parseReply("guest-exec", reply, (value) => numberOf(objectOf(value, "return")["pid"], "pid"));
}

/** Undefined while it runs. Can be had once: the agent then forgets the command. */
export async function exitInGuest(ctx: OpContext, agent: GuestAgent, pid: number): Promise<GuestExit | undefined> {
  const reply = await agent.execute(ctx, "guest-exec-status", { pid });
  return parseReply("guest-exec-status", reply, (value) => {
    const status = objectOf(value, "return");
    if (!booleanOf(status["exited"], "exited")) return undefined;
    const signal = status["signal"] === undefined ? 0 : numberOf(status["signal"], "signal");
    return {
      code: status["exitcode"] === undefined ? 128 + signal : numberOf(status["exitcode"], "exitcode"),
      signal,
      stdout: outputOf(status["out-data"], "out-data"),
      stderr: outputOf(status["err-data"], "err-data"),
      isTruncated: status["out-truncated"] === true || status["err-truncated"] === true,
    };
  });
}

/** Waits for the end of a command of {@link startInGuest}, asking every half a second once it takes longer. */
export async function waitInGuest(
  ctx: OpContext,
  agent: GuestAgent,
  pid: number,
  clock: Clock = systemClock,
): Promise<GuestExit> {
  for (let pauseMs = firstPollMs; ; pauseMs = Math.min(lastPollMs, pauseMs * 1.5)) {
    const exit = await exitInGuest(ctx, agent, pid);
    if (exit !== undefined) return exit;
    await clock.sleep(pauseMs, ctx.signal);
  }
}

/** Starts a command and waits for its end. */
export async function runInGuest(ctx: OpContext, agent: GuestAgent, command: GuestCommand): Promise<GuestExit> {
  return await waitInGuest(ctx, agent, await startInGuest(ctx, agent, command));
}

function outputOf(value: unknown, where: string): Buffer {
  return value === undefined ? Buffer.alloc(0) : Buffer.from(stringOf(value, where), "base64");
}

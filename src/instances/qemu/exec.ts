import type { OpContext } from "../../base/op-context.ts";
import type { ExecRequest, ExecTask, TaskIo } from "../driver.ts";
import { driverErrors } from "../driver-errors.ts";
import { type AgentChannel, AgentError } from "./agent-channel.ts";
import { openChannel } from "./ask-agent.ts";
import { commandFailure } from "./command-failure.ts";
import { machineErrors } from "./errors.ts";
import type { Machine } from "./handle.ts";
import { execFields, requireRoom } from "./process-fields.ts";

/** Of a command that its machine's end took along. */
const killed = 137;

/**
 * Starts a command in the guest, beside the main process. A detached one goes on without the engine; an attached one is killed when the
 * connection ends.
 */
export async function execMachine(ctx: OpContext, machine: Machine, request: ExecRequest): Promise<ExecTask> {
  const channel = await openChannel(machine, requireRoom(execFields(request, machine.process)));
  const abort = () => channel.close();
  ctx.signal.addEventListener("abort", abort, { once: true });
  try {
    const answer = await channel.answer;
    const exited = channel.exited.catch(() => killed);
    if (request.detached) channel.discard();
    const requireRunning = () => {
      if (channel.isOver) throw driverErrors.TASK_NOT_RUNNING({ id: request.execId });
    };
    return {
      pid: Number(new Map(answer).get("pid") ?? 0),
      io: ioOf(channel, request),
      exited,
      resize: async (size) => {
        if (!request.tty) throw driverErrors.TASK_HAS_NO_TTY({ id: request.execId });
        requireRunning();
        channel.resize(size);
      },
      signal: async (signal) => {
        requireRunning();
        channel.signal(signal);
      },
    };
  } catch (error) {
    channel.close();
    ctx.signal.throwIfAborted();
    throw error instanceof AgentError ? execFailure(machine, request, error) : error;
  } finally {
    ctx.signal.removeEventListener("abort", abort);
  }
}

function ioOf(channel: AgentChannel, { stdin }: ExecRequest): TaskIo {
  return { output: channel.output, stdin: stdin ? channel.stdin : undefined, detach: () => channel.discard() };
}

function execFailure({ id }: Machine, { argv }: ExecRequest, error: AgentError) {
  const failure = commandFailure("exec", argv[0] ?? "", error);
  if (failure !== undefined) return failure;
  switch (error.kind) {
    case "lost":
    case "not-running":
      return driverErrors.TASK_NOT_RUNNING({ id }, { cause: error });
    default:
      return machineErrors.AGENT_REFUSED({ verb: "run the command", reason: error.message }, { cause: error });
  }
}

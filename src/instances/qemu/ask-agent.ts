import type { Field } from "../../guest/frames.ts";
import { type OpContext, withTimeout } from "../../base/op-context.ts";
import { driverErrors } from "../driver-errors.ts";
import { AgentChannel, AgentError, type Answer } from "./agent-channel.ts";
import { connectToAgent, isNobodyThere } from "./agent-socket.ts";
import { machineErrors } from "./errors.ts";
import type { Machine } from "./handle.ts";

/** For an answer that no stream comes before. A guest's kernel that hangs, or is paused, has none. */
const answerMs = 10_000;

/** The channel of a request, open; `TASK_NOT_RUNNING` when the machine has ended. */
export async function openChannel(
  { id, runDir }: Pick<Machine, "id" | "runDir">,
  fields: readonly Field[],
): Promise<AgentChannel> {
  try {
    const channel = new AgentChannel(await connectToAgent(runDir), fields);
    channel.unref();
    return channel;
  } catch (error) {
    if (!isNobodyThere(error)) throw error;
    throw driverErrors.TASK_NOT_RUNNING({ id }, { cause: error });
  }
}

/** The fields of the agent's reply. `AGENT_SILENT` when it takes too long, else an {@link AgentError}. */
export async function askAgent(
  ctx: OpContext,
  machine: Machine,
  fields: readonly Field[],
  limitMs = answerMs,
): Promise<Answer> {
  const channel = await openChannel(machine, fields);
  const { signal } = withTimeout(ctx, limitMs);
  const abort = () => channel.close();
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await channel.answer;
  } catch (error) {
    ctx.signal.throwIfAborted();
    if (signal.aborted) throw machineErrors.AGENT_SILENT({ id: machine.id, seconds: limitMs / 1000 });
    if (error instanceof AgentError && error.kind === "lost") {
      throw driverErrors.TASK_NOT_RUNNING({ id: machine.id }, { cause: error });
    }
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
    channel.close();
  }
}

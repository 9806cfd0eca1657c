import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { Driver } from "../driver.ts";
import { openChannel } from "./ask-agent.ts";
import type { Machine } from "./handle.ts";

const SIGKILL = 9;
const lookMs = 10;
/** For the guest to end its process and to write its files out: some ten times what that takes under emulation. */
const graceMs = 1500;

/**
 * Kills the main process from inside: what it and others have written then comes to the disk, as the files of a killed container are
 * there. The machine is killed as a whole where its guest does not do that in time, or nobody will want its files.
 */
export async function killMachine(ctx: OpContext, containers: Driver, machine: Machine): Promise<void> {
  const { status } = await containers.recover(ctx, machine.jail);
  const isThere = status === "running" || status === "paused";
  if (!isThere || machine.throwAway === true || !(await askToKill(ctx, machine))) {
    return await containers.signal(ctx, machine.jail, SIGKILL);
  }
  // One that is frozen is thawed after its signal.
  if (status === "running") return await requireEnd(ctx, containers, machine);
  requireEnd(ctx, containers, machine).catch((error: unknown) => {
    ctx.log.error({ instance: machine.id, error: messageOf(error) }, "it could not be killed");
  });
}

/** Whether it was sent. */
async function askToKill(ctx: OpContext, machine: Machine): Promise<boolean> {
  try {
    const request = [
      ["verb", "signal"],
      ["signal", String(SIGKILL)],
    ] as const;
    const channel = await openChannel(machine, request);
    setTimeout(() => channel.close(), graceMs).unref();
    return true;
  } catch (error) {
    ctx.log.debug({ instance: machine.id, error: messageOf(error) }, "its agent can't be asked to kill");
    return false;
  }
}

async function requireEnd(ctx: OpContext, containers: Driver, { jail }: Machine): Promise<void> {
  const deadline = performance.now() + graceMs;
  while (performance.now() < deadline) {
    const { status } = await containers.recover(ctx, jail);
    if (status === "exited" || status === "lost") return;
    await delay(lookMs, undefined, { ref: false });
  }
  await containers.signal(ctx, jail, SIGKILL);
}

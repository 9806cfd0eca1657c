/** Standing still of a guest's file systems while its disks are copied, where its agent can see to it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { isBerthError, messageOf } from "../../base/errors.ts";
import { cleanupContext, type OpContext } from "../../base/op-context.ts";
import { rm, writeFile } from "../../host/files.ts";
import type { GuestAgent } from "../../qemu/qga-client.ts";

/** Says that a guest may be frozen, for the start after a kill. */
const markIn = (dataDir: string) => join(dataDir, "frozen");
/** A guest without an agent is told by this. */
const answerMs = 2_000;

export interface Frozen extends AsyncDisposable {
  /** False without an agent: what is copied is as after a power cut, which journals of file systems are made for. */
  readonly isConsistent: boolean;
  /** Lets the guest go on; also when it is disposed. */
  thaw(): Promise<void>;
}

export async function freezeGuest(ctx: OpContext, agent: GuestAgent, dataDir: string): Promise<Frozen> {
  let isFrozen = (await agent.isThere(ctx, answerMs)) && (await tryFreeze(ctx, agent, dataDir));
  const isConsistent = isFrozen;
  const thaw = async () => {
    if (!isFrozen) return;
    isFrozen = false;
    await thawGuest(cleanupContext(ctx), agent, dataDir);
  };
  return { isConsistent, thaw, [Symbol.asyncDispose]: thaw };
}

/** For what a killed engine has left frozen. */
export async function thawLeftOver(ctx: OpContext, agent: GuestAgent, dataDir: string): Promise<void> {
  if (existsSync(markIn(dataDir))) await thawGuest(ctx, agent, dataDir);
}

async function tryFreeze(ctx: OpContext, agent: GuestAgent, dataDir: string): Promise<boolean> {
  await writeFile(markIn(dataDir), "");
  try {
    await agent.freeze(ctx);
    return true;
  } catch (error) {
    await thawGuest(cleanupContext(ctx), agent, dataDir);
    ctx.signal.throwIfAborted();
    if (!isBerthError(error)) throw error;
    ctx.log.warn(
      { error: messageOf(error) },
      "the guest's file systems can't be frozen: its disks are copied as after a power cut",
    );
    return false;
  }
}

async function thawGuest(ctx: OpContext, agent: GuestAgent, dataDir: string): Promise<void> {
  try {
    await agent.thaw(ctx);
    await rm(markIn(dataDir), { force: true });
  } catch (error) {
    // The mark stays, for the next start of the engine.
    ctx.log.warn({ error: messageOf(error) }, "the guest's file systems may still be frozen");
  }
}

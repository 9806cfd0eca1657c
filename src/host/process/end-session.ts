import type { OpContext } from "../../base/op-context.ts";
import type { ProcessIdentity, Processes } from "../host.ts";

const SIGKILL = 9;

/** Kills a process and everything in the session that it made (see `SpawnRequest.newSession`), also when it has ended itself. */
export async function endSession(
  ctx: OpContext,
  processes: Pick<Processes, "identify" | "isAlive" | "sessionOf" | "signal" | "waitGone">,
  leader: ProcessIdentity,
): Promise<void> {
  // Nobody else can have this session while the leader is alive; once it has ended, its pid is not given out while members are left.
  if (!processes.isAlive(leader) && processes.identify(leader.pid) !== undefined) return;
  await end(leader);
  // Again until nobody is found: one may have forked while it was looked at.
  for (let left = processes.sessionOf(leader.pid); left.length > 0; left = processes.sessionOf(leader.pid)) {
    for (const member of left) await end(member);
  }

  async function end(member: ProcessIdentity): Promise<void> {
    if (processes.signal(member, SIGKILL)) await processes.waitGone(member, ctx.signal);
  }
}

import type { OpContext } from "../../base/op-context.ts";
import { errnoOf } from "../../host/errors.ts";
import type { Host, ProcessIdentity, SeqpacketSocket } from "../../host/host.ts";

export interface MonitorSocket {
  /** Of the socket. */
  readonly path: string;
  readonly monitor: ProcessIdentity;
  /**
   * Wait until the monitor has taken the connection. One that is scheduled late could else find its process started, ended and with output
   * in the pipe, and no client yet to give that to: it would be in the log only.
   */
  readonly taken: boolean;
}

/** A client's connection to a conmon; undefined when that has ended. */
export async function connectToMonitor(
  ctx: OpContext,
  host: Host,
  { path, monitor, taken }: MonitorSocket,
): Promise<SeqpacketSocket | undefined> {
  try {
    return await host.sockets.connectSeqpacket(ctx, path, taken ? monitor.pid : undefined);
  } catch (error) {
    // It closes what it listens on as it ends, a moment before it is gone.
    if (errnoOf(error) === "ECONNRESET") await host.processes.waitGone(monitor, ctx.signal);
    if (host.processes.isAlive(monitor)) throw error;
    return undefined;
  }
}

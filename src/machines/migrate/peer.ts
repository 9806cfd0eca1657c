/** The other engine of a move, as this room sees it: the composition root speaks to it by its API. */
import type { Duplex } from "node:stream";
import type { OpContext } from "../../base/op-context.ts";
import type { ArrivalReady, ArrivalState, MachineTransfer } from "../../schema/machine-migrate-api.ts";
import type { PortSpec } from "../../schema/network.ts";

/** What of a machine is carried by a stream of its own. */
export type TransferChannel = "disks" | "memory";

export interface MigrationPeer extends Disposable {
  /** Has the machine made there. What the other engine refuses is its own error. Disposed before `finish`, nothing of it stays there. */
  send(ctx: OpContext, transfer: MachineTransfer): Promise<Arrival>;
  /** "gone" when that engine knows nothing of it (any more). Rejects when it does not answer. */
  stateOf(ctx: OpContext, id: string): Promise<ArrivalState["state"] | "gone">;
  cancel(ctx: OpContext, id: string): Promise<void>;
  /** Publishes ports of a machine that has arrived. */
  publish(ctx: OpContext, id: string, ports: readonly PortSpec[]): Promise<void>;
}

/** A machine that waits on the other engine. */
export interface Arrival extends Disposable {
  readonly ready: ArrivalReady;
  /** One more connection to its QEMU. */
  connect(ctx: OpContext, channel: TransferChannel): Promise<Duplex>;
  /** Lets it run there. */
  finish(ctx: OpContext): Promise<void>;
}

import { SyscallError } from "../syscall-error.ts";
import { NetlinkSocket } from "./netlink-socket.ts";
import { changeLink, getLinkByName } from "./route-messages.ts";

const NETLINK_ROUTE = 0;

/** rtnetlink in the network namespace that the thread is in when it is made. */
export class RouteSocket extends NetlinkSocket {
  constructor() {
    super(NETLINK_ROUTE);
  }

  /** Index of the link; undefined when there is none of this name. */
  findIndex(name: string): number | undefined {
    try {
      return this.get("RTM_GETLINK", getLinkByName(name)).body.readInt32LE(4);
    } catch (error) {
      if (error instanceof SyscallError && error.code === "ENODEV") return undefined;
      throw error;
    }
  }

  /** Index of the link; ENODEV naming it when there is none. */
  indexOf(name: string): number {
    const index = this.findIndex(name);
    if (index === undefined) throw new SyscallError("RTM_GETLINK", 19, `no link ${name}`);
    return index;
  }

  setUp(name: string): void {
    this.request("RTM_NEWLINK", [changeLink({ index: this.indexOf(name), up: true })]);
  }
}

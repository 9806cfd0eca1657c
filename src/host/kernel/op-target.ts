import type { KernelOp } from "../kernel-ops.ts";

/** What an operation is done to, for its error. */
export function targetOf(op: KernelOp): string {
  switch (op.op) {
    case "mount":
    case "unmount":
      return op.target;
    case "netns-create":
    case "netns-remove":
    case "set-xattr":
    case "mknod":
      return op.path;
    case "bridge-create":
    case "veth-create":
    case "bridge-join":
      return op.name;
    case "link-configure":
    case "link-delete":
      return at(op.name, op.netns);
    case "route-replace":
    case "route-delete":
      return at(op.route.destination, op.netns);
    case "sysctl":
      return at(`${op.key}=${op.value}`, op.netns);
    case "nft-script":
      return "-";
    case "nft-add-elements":
    case "nft-delete-elements":
    case "nft-require":
      return `inet ${op.table} ${op.set}`;
    case "conntrack-forget":
      return `${op.protocol} ${op.port}`;
  }
}

function at(what: string, netns: string | undefined): string {
  return netns === undefined ? what : `${what} in ${netns}`;
}

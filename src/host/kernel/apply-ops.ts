import type { KernelOp } from "../kernel-ops.ts";
import { forgetConnections } from "../netlink/conntrack.ts";
import {
  createBridge,
  configureLink,
  createVeth,
  deleteLink,
  deleteRoute,
  joinBridge,
  replaceRoute,
} from "../netlink/link-ops.ts";
import { applyElements, requireSet } from "../netlink/nft-elements.ts";
import { applyMknod } from "./mknod.ts";
import { applyMount, applyUnmount } from "./mounts.ts";
import { targetOf } from "./op-target.ts";
import { createNetns, inNetns, removeNetns } from "./netns.ts";
import { applySysctl } from "./sysctl.ts";
import type { NftHandOver } from "./worker-calls.ts";
import { named } from "./worker-failure.ts";
import { setXattr } from "./xattrs.ts";

/** Does `ops` in order until one fails, or one needs the nft program. */
export function applyOps(ops: readonly KernelOp[]): NftHandOver | undefined {
  for (const [index, op] of ops.entries()) {
    const handOver = named(op.op, targetOf(op), () => applyOp(op));
    if (handOver !== undefined) return { index, ...handOver };
  }
  return undefined;
}

function applyOp(op: KernelOp): Omit<NftHandOver, "index"> | undefined {
  switch (op.op) {
    case "mount":
      applyMount(op);
      return undefined;
    case "unmount":
      applyUnmount(op);
      return undefined;
    case "netns-create":
      createNetns(op.path);
      return undefined;
    case "netns-remove":
      removeNetns(op.path);
      return undefined;
    case "bridge-create":
      createBridge(op);
      return undefined;
    case "veth-create":
      createVeth(op);
      return undefined;
    case "bridge-join":
      joinBridge(op);
      return undefined;
    case "link-configure":
      inNetns(op.netns, () => configureLink(op));
      return undefined;
    case "link-delete":
      ignoringMissingNetns(op.netns, () => deleteLink(op.name));
      return undefined;
    case "route-replace":
      inNetns(op.netns, () => replaceRoute(op.route));
      return undefined;
    case "route-delete":
      ignoringMissingNetns(op.netns, () => deleteRoute(op.route));
      return undefined;
    case "sysctl":
      applySysctl(op);
      return undefined;
    case "set-xattr":
      setXattr(op.path, op.name, op.value);
      return undefined;
    case "mknod":
      applyMknod(op);
      return undefined;
    case "nft-script":
      return { scripts: [op.script], missingIsFine: false };
    case "nft-add-elements":
    case "nft-delete-elements":
      return applyElements(op);
    case "nft-require":
      requireSet(op.table, op.set);
      return undefined;
    case "conntrack-forget":
      forgetConnections(op);
      return undefined;
  }
}

/** A namespace that is gone took its links and routes with it. */
function ignoringMissingNetns(netns: string | undefined, work: () => void): void {
  try {
    inNetns(netns, work);
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    if (!(missing && netns !== undefined)) throw error;
  }
}

/** What the engine needs of a machine, tried out: the lines that `berth doctor` and the set-up print. */
import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import { checkCgroups, checkKernelVersion, checkPrivileges } from "./checks/kernel-checks.ts";
import { checkLimits, checkSpace } from "./checks/limit-checks.ts";
import {
  checkBridgeFilter,
  checkForeignFirewall,
  checkForwarding,
  checkNetworkDevices,
  checkNftables,
} from "./checks/network-checks.ts";
import { checkOverlay } from "./checks/overlay-check.ts";
import { programChecks } from "./checks/program-checks.ts";
import type { Host } from "./host.ts";

export interface HostCheck {
  /** Stable, kebab-case: "overlay". */
  readonly id: string;
  readonly title: string;
  /** "error": the engine can't do its work. "warning": something will not work, or not well. */
  readonly status: "ok" | "warning" | "error";
  /** What was found. */
  readonly detail: string;
  /** What to do about it; "" when it is fine. */
  readonly remedy: string;
}

export interface CheckContext {
  readonly host: Host;
  /** Where the engine will keep its data; need not be there yet. */
  readonly dataRoot: string;
}

/** What a check finds; the table below gives it id and title. */
export type Finding = Omit<HostCheck, "id" | "title">;

export interface CheckDefinition {
  readonly id: string;
  readonly title: string;
  readonly check: (ctx: OpContext, context: CheckContext) => Promise<Finding> | Finding;
}

export interface CheckOptions {
  readonly dataRoot: string;
  /** Gets each result as it comes. */
  readonly onResult?: (result: HostCheck) => void;
}

/**
 * Runs every check, in order. Whatever one makes to try something out (a mount, a table, a namespace) is taken away again.
 */
export async function checkHost(ctx: OpContext, host: Host, options: CheckOptions): Promise<readonly HostCheck[]> {
  const results: HostCheck[] = [];
  for (const { id, title, check } of checkDefinitions) {
    const result = { id, title, ...(await findingOf(ctx, { host, dataRoot: options.dataRoot }, check)) };
    results.push(result);
    options.onResult?.(result);
  }
  return results;
}

const checkDefinitions: readonly CheckDefinition[] = [
  { id: "privileges", title: "Root and capabilities", check: checkPrivileges },
  { id: "kernel", title: "Kernel version", check: checkKernelVersion },
  { id: "overlay", title: "Overlay file system on the data root", check: checkOverlay },
  { id: "cgroups", title: "Control groups", check: checkCgroups },
  { id: "network-devices", title: "Network namespaces, bridges and veth pairs", check: checkNetworkDevices },
  { id: "nftables", title: "nftables", check: checkNftables },
  { id: "ip-forward", title: "IPv4 forwarding", check: checkForwarding },
  { id: "foreign-firewall", title: "Other engines' firewall rules", check: checkForeignFirewall },
  { id: "br-netfilter", title: "Bridged traffic in the firewall", check: checkBridgeFilter },
  ...programChecks,
  { id: "limits", title: "Kernel limits", check: checkLimits },
  { id: "disk-space", title: "Disk space on the data root", check: checkSpace },
];

async function findingOf(ctx: OpContext, context: CheckContext, check: CheckDefinition["check"]): Promise<Finding> {
  try {
    return await check(ctx, context);
  } catch (error) {
    if (ctx.signal.aborted) throw error;
    return { status: "error", detail: messageOf(error), remedy: "This check itself failed; see the detail" };
  }
}

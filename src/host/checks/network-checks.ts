import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import { cleanupContext, type OpContext } from "../../base/op-context.ts";
import type { CheckContext, Finding } from "../checks.ts";
import type { KernelOp } from "../kernel-ops.ts";
import { error, ok, warning } from "./finding.ts";

/** Makes a namespace, a bridge and a pair between them. */
export async function checkNetworkDevices(ctx: OpContext, { host }: CheckContext): Promise<Finding> {
  const directory = await mkdtemp(join(tmpdir(), "berth-check-"));
  const netns = join(directory, "netns");
  const suffix = randomBytes(3).toString("hex");
  const bridge = `brtchk${suffix}`;
  const ops: readonly KernelOp[] = [
    { op: "netns-create", path: netns },
    { op: "bridge-create", name: bridge, mtu: 1500, addresses: [] },
    {
      op: "veth-create",
      name: `vbchk${suffix}`,
      bridge,
      netns,
      peer: "eth0",
      mtu: 1500,
      mac: "02:00:00:00:00:02",
      hairpin: true,
    },
    { op: "link-configure", netns, name: "eth0", addresses: [], routes: [] },
  ];
  try {
    await host.kernel.apply(ctx, ops);
    return ok("work");
  } catch (cause) {
    return error(messageOf(cause), "Use a kernel with the modules bridge and veth (modprobe bridge veth)");
  } finally {
    await host.kernel.apply(cleanupContext(ctx), [
      { op: "netns-remove", path: netns },
      { op: "link-delete", name: bridge },
    ]);
    await rm(directory, { recursive: true, force: true });
  }
}

/** Loads a table with everything that published ports and masquerading use, then deletes it. */
export async function checkNftables(ctx: OpContext, { host }: CheckContext): Promise<Finding> {
  if (host.processes.which("nft") === undefined)
    return error("nft is not installed", "Install it: apt install nftables");
  const table = `berth_check_${randomBytes(3).toString("hex")}`;
  const script = `table inet ${table} {
  map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
  chain prerouting {
    type nat hook prerouting priority -100;
    fib daddr type local dnat ip to meta l4proto . th dport map @ports
  }
  chain postrouting {
    type nat hook postrouting priority 100;
    ip saddr 192.0.2.0/32 masquerade
  }
}
`;
  try {
    await host.kernel.apply(ctx, [
      { op: "nft-script", script },
      { op: "nft-add-elements", table, set: "ports", elements: [{ key: "tcp . 1", value: "192.0.2.1 . 1" }] },
    ]);
    return ok("works (maps, NAT and masquerading)");
  } catch (cause) {
    const remedy = "Use a kernel with nf_tables and its NAT modules (nft_nat, nft_masq, nft_fib_inet)";
    return error(messageOf(cause), remedy);
  } finally {
    // "add" first: deleting a table that is not there would be an error.
    const removal = `add table inet ${table}\ndelete table inet ${table}\n`;
    await host.processes.run(cleanupContext(ctx), { argv: ["nft", "-f", "-"], input: removal });
  }
}

export async function checkForwarding(): Promise<Finding> {
  if ((await readSysctl("net/ipv4/ip_forward")) === "1") return ok("on");
  return warning(
    "off; the engine turns it on when it starts",
    "To keep it on: echo net.ipv4.ip_forward=1 > /etc/sysctl.d/99-berth.conf",
  );
}

/** Docker sets the FORWARD chain's policy to DROP, for every bridge on the host. */
export async function checkForeignFirewall(ctx: OpContext, { host }: CheckContext): Promise<Finding> {
  if (host.processes.which("iptables") === undefined) return ok("no iptables here");
  const run = async (chain: string) =>
    await host.processes.run(ctx, { argv: ["iptables", "--wait", "5", "-S", chain], timeoutMs: 10_000 });
  const forward = await run("FORWARD");
  if (forward.code !== 0) return ok("iptables has no FORWARD chain");
  if (!/^-P FORWARD DROP$/m.test(forward.stdout)) return ok("forwarded traffic is accepted by default");
  const hasUserChain = (await run("DOCKER-USER")).code === 0;
  return hasUserChain
    ? ok("Docker drops forwarded traffic by default; the engine lets its bridges through in the chain DOCKER-USER")
    : warning(
        "the iptables FORWARD chain drops traffic by default",
        "Let the engine's bridges through: iptables -I FORWARD -i 'brt+' -j ACCEPT; iptables -I FORWARD -o 'brt+' -j ACCEPT",
      );
}

export async function checkBridgeFilter(): Promise<Finding> {
  const value = await readSysctl("net/bridge/bridge-nf-call-iptables");
  if (value !== "1") return ok("bridged traffic stays out of iptables");
  return ok("br_netfilter is on: traffic between containers of one network crosses the iptables FORWARD chain as well");
}

async function readSysctl(path: string): Promise<string | undefined> {
  try {
    return (await readFile(`/proc/sys/${path}`, "utf8")).trim();
  } catch {
    return undefined;
  }
}

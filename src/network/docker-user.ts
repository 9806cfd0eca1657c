/**
 * Beside an iptables firewall whose FORWARD chain drops by default (Docker's, ufw's), our bridges' packets would be dropped
 * whatever our own table says. So what containers begin, and the answers to it, is accepted in DOCKER-USER, the chain that Docker
 * leaves to others, or in FORWARD itself where there is none. What comes in to their published ports is accepted only where nobody but
 * Docker made the chain drop: an administrator's firewall decides itself. Planning is pure.
 */
import { readFile, realpath } from "node:fs/promises";
import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { Host } from "../host/host.ts";

/** What `iptables -S` tells about forwarding. */
export interface ForwardRules {
  readonly dropsByDefault: boolean;
  readonly hasDockerUser: boolean;
  /** A firewall that somebody set up looks at forwarded packets, beside the rules of programs that run containers and machines. */
  readonly isGuarded: boolean;
  /** Rules with our comment, as arguments after "-A": ["DOCKER-USER", "-i", "brt1", ...]. */
  readonly ours: readonly (readonly string[])[];
  /** Position (from 1) of a bare RETURN that ends DOCKER-USER: ours must come before. 0 is none. */
  readonly finalReturn: number;
}

export function parseForwardRules(text: string, tag: string): ForwardRules {
  const lines = text.split("\n");
  const user = lines.filter((line) => line.startsWith("-A DOCKER-USER "));
  return {
    dropsByDefault: lines.includes("-P FORWARD DROP"),
    hasDockerUser: lines.includes("-N DOCKER-USER"),
    isGuarded: !lines.includes("-N DOCKER-USER") || lines.some(isFirewallRule),
    ours: lines
      .filter((line) => line.startsWith("-A ") && line.includes(` --comment ${comment(tag)} `))
      .map((line) => line.split(/\s+/).slice(1)),
    finalReturn: user.at(-1) === "-A DOCKER-USER -j RETURN" ? user.length : 0,
  };
}

/** Chains of programs that, like us, only see to their own packets. */
const programs = /^(DOCKER|LIBVIRT|KUBE|CNI|FLANNEL|cali|NETAVARK|ts-)/;

/** ufw's and firewalld's are jumps to chains of theirs, others drop right there; Docker drops between containers of one bridge. */
function isFirewallRule(line: string): boolean {
  const [, target = ""] = /^-A FORWARD .*-j (\S+)/.exec(line) ?? [];
  if (target === "" || target === "ACCEPT" || target === "RETURN" || programs.test(target)) return false;
  return !(target === "DROP" && / -i (\S+) -o \1 /.test(line));
}

/** iptables' arguments that make the rules be those of `bridges`: differences only, additions first. */
export function planForwardRules(
  current: ForwardRules,
  bridges: readonly string[],
  tag: string,
): readonly (readonly string[])[] {
  const chain = current.hasDockerUser ? "DOCKER-USER" : "FORWARD";
  const inwards = current.isGuarded ? answers : [];
  const wanted = current.dropsByDefault
    ? bridges.flatMap((bridge) => [
        acceptRule(chain, ["-i", bridge], tag),
        acceptRule(chain, ["-o", bridge, ...inwards], tag),
      ])
    : [];
  const same = (a: readonly string[], b: readonly string[]): boolean => a.join(" ") === b.join(" ");
  const missing = wanted.filter((rule) => !current.ours.some((other) => same(rule, other)));
  const stale = current.ours.filter((rule) => !wanted.some((other) => same(rule, other)));
  return [
    ...missing.map(([, ...match], i) => placed(current, chain, i, match)),
    ...stale.map((rule) => ["-D", ...rule]),
  ];
}

/** Behind the administrator's own rules of DOCKER-USER, before its final RETURN; in FORWARD before whatever drops. */
function placed(current: ForwardRules, chain: string, index: number, match: readonly string[]): readonly string[] {
  if (chain === "FORWARD") return ["-I", chain, String(index + 1), ...match];
  return current.finalReturn > 0
    ? ["-I", chain, String(current.finalReturn + index), ...match]
    : ["-A", chain, ...match];
}

/** Of connections that were let through already. */
const answers = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"];

function acceptRule(chain: string, match: readonly string[], tag: string): readonly string[] {
  return [chain, ...match, "-m", "comment", "--comment", comment(tag), "-j", "ACCEPT"];
}

function comment(tag: string): string {
  return `berth-${tag}`;
}

/**
 * Makes the rules be those of `bridges` ([] takes all of ours away). A host without iptables, or whose legacy iptables has
 * no filter table, has no such firewall. A failure is logged: the containers run, but the firewall may keep them from the world.
 */
export async function syncForwardRules(
  ctx: OpContext,
  host: Host,
  tag: string,
  bridges: { readonly ipv4: readonly string[]; readonly ipv6: readonly string[] },
): Promise<void> {
  for (const [program, names] of [
    ["iptables", bridges.ipv4],
    ["ip6tables", bridges.ipv6],
  ] as const) {
    try {
      await syncFamily(ctx, host, program, tag, names);
    } catch (error) {
      ctx.log.warn({ program, error: messageOf(error) }, "cannot let the bridges through the host's firewall");
    }
  }
}

async function syncFamily(
  ctx: OpContext,
  host: Host,
  program: "iptables" | "ip6tables",
  tag: string,
  bridges: readonly string[],
): Promise<void> {
  const path = host.processes.which(program);
  if (path === undefined || (await isUnusedLegacy(path, program))) return;
  const listing = await host.processes.run(ctx, { argv: [path, "-w", "-S"] });
  if (listing.code !== 0) throw new Error(listing.stderr.trim());
  const current = parseForwardRules(listing.stdout, tag);
  const changes = planForwardRules(current, bridges, tag);
  if (changes.length > 0 && current.dropsByDefault && current.isGuarded && bridges.length > 0) {
    ctx.log.info(
      { program },
      "the host's firewall drops what it does not know: it decides who reaches published ports",
    );
  }
  for (const args of changes) {
    const result = await host.processes.run(ctx, { argv: [path, "-w", ...args] });
    if (result.code !== 0) throw new Error(`${program} ${args.join(" ")}: ${result.stderr.trim()}`);
  }
}

/** Asking the legacy program would load its kernel modules: the kernel lists the tables that exist. */
async function isUnusedLegacy(path: string, program: "iptables" | "ip6tables"): Promise<boolean> {
  if (!(await realpath(path)).includes("legacy")) return false;
  const list = program === "iptables" ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names";
  try {
    return !(await readFile(list, "utf8")).split("\n").includes("filter");
  } catch {
    // No such file: the module was never loaded.
    return true;
  }
}

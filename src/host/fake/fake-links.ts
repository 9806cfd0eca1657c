import type { LinkInfo } from "../host.ts";
import type { LinkOp } from "../kernel-ops.ts";
import { SyscallError } from "../syscall-error.ts";

type Op<K extends LinkOp["op"]> = Extract<LinkOp, { op: K }>;

const ENOENT = 2;
const EEXIST = 17;
const ENODEV = 19;

interface Namespace {
  readonly links: Map<string, LinkInfo>;
}

/** Links of the host and of pinned namespaces, as a model. */
export class FakeLinks {
  readonly #host: Namespace = { links: new Map([["lo", link({ index: 1, name: "lo", kind: "", up: true })]]) };
  readonly #pinned = new Map<string, Namespace>();
  /** Host end of each pair: by name, the namespace and name of its peer. */
  readonly #peers = new Map<string, { readonly netns: string; readonly index: number }>();
  #nextIndex = 2;

  list(netns: string | undefined): readonly LinkInfo[] {
    return [...this.#namespace(netns).links.values()];
  }

  addNetns(path: string): void {
    if (this.#pinned.has(path)) throw new SyscallError("open", EEXIST);
    this.#pinned.set(path, { links: new Map([["lo", link({ index: 1, name: "lo", kind: "", up: true })]]) });
  }

  /** Its links go with it, and with them their other ends. */
  removeNetns(path: string): void {
    this.#pinned.delete(path);
    for (const [name, peer] of this.#peers) {
      if (peer.netns !== path) continue;
      this.#host.links.delete(name);
      this.#peers.delete(name);
    }
  }

  addBridge(op: Op<"bridge-create">): void {
    const existing = this.#host.links.get(op.name);
    if (existing !== undefined && existing.kind !== "bridge") throw new SyscallError("RTM_NEWLINK", EEXIST);
    const addresses = [...new Set([...(existing?.addresses ?? []), ...op.addresses])];
    const index = existing?.index ?? this.#nextIndex++;
    const mac = op.mac ?? existing?.mac ?? "02:00:00:00:00:01";
    this.#host.links.set(
      op.name,
      link({ index, name: op.name, kind: "bridge", up: true, mtu: op.mtu, mac, addresses }),
    );
  }

  addVeth(op: Op<"veth-create">): void {
    const bridge = this.#find(op.bridge, undefined);
    const namespace = this.#namespace(op.netns);
    if (this.#host.links.has(op.name) || namespace.links.has(op.peer)) throw new SyscallError("RTM_NEWLINK", EEXIST);
    const index = this.#nextIndex++;
    const common = { kind: "veth", mtu: op.mtu };
    this.#host.links.set(op.name, link({ ...common, index, name: op.name, up: true, master: bridge.index }));
    const peerIndex = Math.max(...[...namespace.links.values()].map((each) => each.index)) + 1;
    namespace.links.set(op.peer, link({ ...common, index: peerIndex, name: op.peer, up: false, mac: op.mac }));
    this.#peers.set(op.name, { netns: op.netns, index: peerIndex });
  }

  joinBridge(op: Op<"bridge-join">): void {
    const master = this.#find(op.bridge, undefined).index;
    const existing = this.#host.links.get(op.name);
    if (existing !== undefined) this.#host.links.set(op.name, { ...existing, master, up: true });
  }

  configure(op: Op<"link-configure">): void {
    const existing = this.#find(op.name, op.netns);
    const { links } = this.#namespace(op.netns);
    const name = op.rename ?? op.name;
    links.delete(op.name);
    const addresses = [...new Set([...existing.addresses, ...op.addresses])];
    links.set(name, { ...existing, name, up: true, addresses });
  }

  remove(name: string, netns: string | undefined): void {
    if (netns !== undefined && !this.#pinned.has(netns)) return;
    const { links } = this.#namespace(netns);
    const removed = links.get(name);
    links.delete(name);
    if (netns === undefined) {
      const peer = this.#peers.get(name);
      if (peer !== undefined) this.#dropPeer(peer);
      this.#peers.delete(name);
      return;
    }
    for (const [hostName, peer] of this.#peers) {
      if (peer.netns !== netns || peer.index !== removed?.index) continue;
      this.#host.links.delete(hostName);
      this.#peers.delete(hostName);
    }
  }

  #dropPeer(peer: { readonly netns: string; readonly index: number }): void {
    const links = this.#pinned.get(peer.netns)?.links ?? new Map<string, LinkInfo>();
    for (const [name, { index }] of links) if (index === peer.index) links.delete(name);
  }

  #find(name: string, netns: string | undefined): LinkInfo {
    const found = this.#namespace(netns).links.get(name);
    if (found === undefined) throw new SyscallError("RTM_GETLINK", ENODEV, `no link ${name}`);
    return found;
  }

  #namespace(netns: string | undefined): Namespace {
    const found = netns === undefined ? this.#host : this.#pinned.get(netns);
    if (found === undefined) throw new SyscallError("open", ENOENT);
    return found;
  }
}

function link(known: Pick<LinkInfo, "index" | "name" | "kind" | "up"> & Partial<LinkInfo>): LinkInfo {
  return {
    mtu: 1500,
    mac: "02:00:00:00:00:00",
    master: 0,
    addresses: [],
    rxBytes: 0,
    rxPackets: 0,
    rxErrors: 0,
    rxDropped: 0,
    txBytes: 0,
    txPackets: 0,
    txErrors: 0,
    txDropped: 0,
    ...known,
  };
}

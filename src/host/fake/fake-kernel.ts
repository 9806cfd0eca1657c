import type { LinkTraffic } from "../kernel/link-traffic.ts";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { OpContext } from "../../base/op-context.ts";
import { hostErrors } from "../errors.ts";
import type { Kernel, LinkInfo, MountEntry, PrivateMounts } from "../host.ts";
import type { KernelOp } from "../kernel-ops.ts";
import { targetOf } from "../kernel/op-target.ts";
import { SyscallError } from "../syscall-error.ts";
import { FakeLinks } from "./fake-links.ts";

/** Answers the name of the errno ("EBUSY") that an operation shall fail with, or undefined. */
export type FailureScript = (op: KernelOp) => string | undefined;

/**
 * Records operations and models mounts, namespaces, links, nft elements, attributes and sysctls. Pinned namespaces are
 * files that really are there, and {@link readInRoot} reads the real file system, so that tests can use a temporary directory.
 */
export class FakeKernel implements Kernel {
  /** Everything that was applied, in order. */
  readonly ops: KernelOp[] = [];
  /** Contents of nft maps and sets: "table/set" to key to value ("" in sets). */
  readonly nftElements = new Map<string, Map<string, string>>();
  readonly nftScripts: string[] = [];
  /** Tables that somebody flushed away; a script makes one anew. */
  readonly flushedTables = new Set<string>();
  /** "key", or "netns key". */
  readonly sysctls = new Map<string, string>();
  /** "path name". */
  readonly xattrs = new Map<string, Uint8Array>();
  readonly #links = new FakeLinks();
  readonly #locks = new Set<string>();
  #mounts: MountEntry[] = [];
  #failures: FailureScript[] = [];

  /** Lets operations fail as `script` says, until the result is disposed. */
  failWhen(script: FailureScript): Disposable {
    this.#failures.push(script);
    return { [Symbol.dispose]: () => (this.#failures = this.#failures.filter((each) => each !== script)) };
  }

  async apply(ctx: OpContext, ops: readonly KernelOp[]): Promise<void> {
    if (ops.length > 0) ctx.signal.throwIfAborted();
    for (const op of ops) {
      const errno = this.#failures.map((script) => script(op)).find((each) => each !== undefined);
      if (errno !== undefined) throw failure(op, errno, "scripted by the test");
      try {
        this.#applyOne(op);
      } catch (error) {
        if (error instanceof SyscallError) throw failure(op, error.code, error.text);
        throw error;
      }
      this.ops.push(op);
    }
  }

  async mounts(prefix: string): Promise<readonly MountEntry[]> {
    const below = prefix.endsWith("/") ? prefix : `${prefix}/`;
    return this.#mounts.filter(({ target }) => target === prefix || target.startsWith(below));
  }

  async linkTraffic(): Promise<ReadonlyMap<string, LinkTraffic>> {
    const links = this.#links.list(undefined);
    return new Map(links.map(({ name, rxBytes, txBytes }) => [name, { receivedBytes: rxBytes, sentBytes: txBytes }]));
  }

  async links(netns?: string): Promise<readonly LinkInfo[]> {
    return this.#links.list(netns);
  }

  async readInRoot(root: string, path: string, maxBytes: number): Promise<Uint8Array | undefined> {
    try {
      // join() resolves ".." before the root is put in front, so that it can't lead out.
      const bytes = readFileSync(join(root, join("/", path)));
      if (bytes.length > maxBytes) {
        throw hostErrors.READ_REFUSED({ path, root, reason: `is larger than ${maxBytes} bytes` });
      }
      return bytes;
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      if (code === "EISDIR") throw hostErrors.READ_REFUSED({ path, root, reason: "is not a regular file" });
      throw error;
    }
  }

  async getXattr(path: string, name: string): Promise<Uint8Array | undefined> {
    return this.xattrs.get(`${path} ${name}`);
  }

  async listXattrs(path: string): Promise<readonly string[]> {
    return [...this.xattrs.keys()].filter((key) => key.startsWith(`${path} `)).map((key) => key.slice(path.length + 1));
  }

  async privateMounts(): Promise<PrivateMounts> {
    return { path: "/proc/self/ns/mnt", [Symbol.dispose]: () => {} };
  }

  async compileSeccomp(): Promise<Uint8Array | undefined> {
    return undefined;
  }

  async lock(path: string): Promise<Disposable> {
    if (this.#locks.has(path)) throw hostErrors.LOCK_HELD({ path, holder: process.pid });
    this.#locks.add(path);
    return { [Symbol.dispose]: () => void this.#locks.delete(path) };
  }

  #applyOne(op: KernelOp): void {
    switch (op.op) {
      case "mount":
        if (op.flags?.includes("remount") === true) return;
        this.#mounts.push({ target: op.target, source: op.source, fstype: op.fstype ?? "none" });
        return;
      case "unmount": {
        const index = this.#mounts.findLastIndex(({ target }) => target === op.target);
        if (index >= 0) this.#mounts.splice(index, 1);
        return;
      }
      case "netns-create":
        mkdirSync(dirname(op.path), { recursive: true });
        this.#links.addNetns(op.path);
        writeFileSync(op.path, "");
        return;
      case "netns-remove":
        this.#links.removeNetns(op.path);
        rmSync(op.path, { force: true });
        return;
      case "bridge-create":
        this.#links.addBridge(op);
        return;
      case "veth-create":
        this.#links.addVeth(op);
        return;
      case "bridge-join":
        this.#links.joinBridge(op);
        return;
      case "link-configure":
        this.#links.configure(op);
        return;
      case "link-delete":
        this.#links.remove(op.name, op.netns);
        return;
      case "sysctl":
        this.sysctls.set(op.netns === undefined ? op.key : `${op.netns} ${op.key}`, op.value);
        return;
      case "nft-script":
        this.nftScripts.push(op.script);
        for (const table of this.flushedTables) {
          if (op.script.includes(`add table inet ${table}`)) this.flushedTables.delete(table);
        }
        return;
      case "nft-add-elements":
        for (const { key, value } of op.elements) this.#addElement(`${op.table}/${op.set}`, key, value ?? "");
        return;
      case "nft-require":
        if (this.flushedTables.has(op.table)) throw new SyscallError("NFT_MSG_GETSET", 2);
        return;
      case "nft-delete-elements":
        for (const { key } of op.elements) this.nftElements.get(`${op.table}/${op.set}`)?.delete(key);
        return;
      case "set-xattr":
        this.xattrs.set(`${op.path} ${op.name}`, op.value);
        return;
      case "route-replace":
      case "route-delete":
      case "conntrack-forget":
      case "mknod":
        return;
    }
  }

  #addElement(set: string, key: string, value: string): void {
    const elements = this.nftElements.get(set) ?? new Map<string, string>();
    this.nftElements.set(set, elements);
    const existing = elements.get(key);
    if (existing !== undefined && existing !== value) throw new SyscallError("nft", 17, `${key} has another value`);
    elements.set(key, value);
  }
}

function failure(op: KernelOp, errno: string, text: string): Error {
  const cause = Object.assign(new Error(`${errno}: ${text}`), { code: errno, errno });
  return hostErrors.KERNEL_OP_FAILED({ op: op.op, target: targetOf(op), errno, text }, { cause });
}

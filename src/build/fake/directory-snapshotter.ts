/** Root file systems as plain copies, for tests: whatever a test's "container" writes into the directory is a change. */
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { OpContext } from "../../base/op-context.ts";
import type { Change, CommittedLayer, LayerSink, SnapshotView } from "../../snapshots/snapshotter.ts";

/** The part of a snapshotter that builds use. */
export class DirectorySnapshotter {
  readonly #directory: string;
  readonly #parents = new Map<string, string>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  async prepare(_ctx: OpContext, id: string, parent: string): Promise<void> {
    this.#parents.set(id, parent);
    await mkdir(this.path(id), { recursive: true });
    if (parent !== "") await cp(this.#layer(parent), this.path(id), { recursive: true, verbatimSymlinks: true });
  }

  async mount(_ctx: OpContext, id: string, options: { readonly beneath?: string } = {}): Promise<string> {
    if (options.beneath !== undefined) await cp(options.beneath, this.path(id), { recursive: true, force: false });
    return this.path(id);
  }

  async remove(_ctx: OpContext, id: string): Promise<void> {
    this.#parents.delete(id);
    await rm(this.path(id), { recursive: true, force: true });
  }

  async list(): Promise<readonly string[]> {
    return [...this.#parents.keys()];
  }

  async view(_ctx: OpContext, chainId: string): Promise<SnapshotView> {
    await mkdir(this.#layer(chainId), { recursive: true });
    return { root: this.#layer(chainId), [Symbol.asyncDispose]: async () => {} };
  }

  async changes(_ctx: OpContext, id: string): Promise<readonly Change[]> {
    const parent = this.#parents.get(id) ?? "";
    const before = parent === "" ? digestOf([]) : digestOf(await filesOf(this.#layer(parent)));
    const after = digestOf(await filesOf(this.path(id)));
    return before === after ? [] : [{ kind: "modified", path: "/" }];
  }

  async commit(_ctx: OpContext, id: string, sink: LayerSink): Promise<CommittedLayer> {
    const parent = this.#parents.get(id) ?? "";
    const diffId = digestOf([parent, ...(await filesOf(this.path(id)))]);
    await sink.write(Buffer.from(diffId));
    const blob = await sink.finish();
    const chainId = parent === "" ? diffId : digestOf(`${parent} ${diffId}`);
    await cp(this.path(id), this.#layer(chainId), { recursive: true, verbatimSymlinks: true });
    await this.remove(_ctx, id);
    return { chainId, parent, diffId, size: 0, blob };
  }

  /** Where a snapshot's files are. */
  path(id: string): string {
    return join(this.#directory, "snapshots", id);
  }

  /** Names and contents of a stack. */
  async files(chainId: string): Promise<readonly string[]> {
    return await filesOf(this.#layer(chainId));
  }

  #layer(chainId: string): string {
    return join(this.#directory, "layers", chainId === "" ? "empty" : chainId.replace("sha256:", ""));
  }
}

async function filesOf(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true });
  const lines = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(directory.length);
    if (entry.isFile()) return `${name}: ${await readFile(path, "utf8")}`;
    return entry.isDirectory() ? `${name}/` : name;
  });
  return (await Promise.all(lines)).sort();
}

/** `chain` text as it is hashed for chain ids, or lines of files. */
function digestOf(content: string | readonly string[]): string {
  const text = typeof content === "string" ? content : content.join("\n");
  return `sha256:${createHash("sha256").update(text).digest("hex")}`;
}

/** The writable snapshots on disk: `active/<id>/{upper,work,merged,meta.json}`. */
import { lstat, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import type { OpContext } from "../base/op-context.ts";
import { chmod, chown, mkdir, rename } from "../host/files.ts";
import { snapshotErrors } from "./errors.ts";
import { type Layout, readMeta, writeMeta } from "./layout.ts";

const SnapshotRecord = Type.Object({
  version: Type.Literal(1),
  id: Type.String(),
  parent: Type.String(),
});
export type SnapshotRecord = Static<typeof SnapshotRecord>;

export class SnapshotCatalog {
  readonly #layout: Layout;
  readonly #snapshots = new Map<string, SnapshotRecord>();

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** Reads what is on disk; drops what has no record or lost its upper directory to a layer that was being made. */
  async load(ctx: OpContext): Promise<void> {
    for (const id of await readdir(this.#layout.active)) {
      const paths = this.paths(id);
      const record = await readMeta(paths.directory);
      const upper = await lstat(paths.upper).catch(() => undefined);
      if (Value.Check(SnapshotRecord, record) && record.id === id && upper?.isDirectory() === true) {
        this.#snapshots.set(id, record);
      } else {
        ctx.log.warn({ snapshot: id }, "dropping an unfinished snapshot");
        await this.#layout.discard(paths.directory);
      }
    }
  }

  /** `SNAPSHOT_NOT_FOUND`. */
  get(id: string): SnapshotRecord {
    const record = this.#snapshots.get(id);
    if (record === undefined) throw snapshotErrors.SNAPSHOT_NOT_FOUND({ id });
    return record;
  }

  has(id: string): boolean {
    return this.#snapshots.has(id);
  }

  ids(): readonly string[] {
    return [...this.#snapshots.keys()];
  }

  /** A snapshot that stands on `chainId`. */
  on(chainId: string): string | undefined {
    return [...this.#snapshots.values()].find(({ parent }) => parent === chainId)?.id;
  }

  paths(id: string) {
    const directory = join(this.#layout.active, id);
    return {
      directory,
      upper: join(directory, "upper"),
      work: join(directory, "work"),
      merged: join(directory, "merged"),
    };
  }

  /**
   * Makes the directories. A root of one's own is 0755 and the superuser's whatever the image's layers say, as Docker's is: tars made of
   * a private directory carry 0700, which would keep every other user out of the container's own root.
   */
  async create(id: string, parent: string, durable: boolean): Promise<void> {
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(id)) throw snapshotErrors.SNAPSHOT_ID_INVALID({ id });
    if (this.#snapshots.has(id)) throw snapshotErrors.SNAPSHOT_EXISTS({ id });
    const record: SnapshotRecord = { version: 1, id, parent };
    const draft = await this.#layout.newDraft();
    try {
      for (const name of ["upper", "work", "merged"]) await mkdir(join(draft, name), { mode: 0o755 });
      await writeMeta(draft, record, durable);
      await rename(draft, this.paths(id).directory);
    } catch (error) {
      await this.#layout.discard(draft);
      throw error;
    }
    this.#snapshots.set(id, record);
  }

  /** Missing is no error. */
  async remove(id: string): Promise<void> {
    if (!this.#snapshots.delete(id)) return;
    await this.#layout.discard(this.paths(id).directory);
  }
}

/** A merged directory has the attributes of its topmost part, and tars of layers don't say those of the root. */
export async function copyRootAttributes(from: string, to: string): Promise<void> {
  const { uid, gid, mode } = await stat(from);
  await chown(to, uid, gid);
  await chmod(to, mode & 0o7777);
}

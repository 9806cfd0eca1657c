/** Where things lie under the snapshots' root, and moving them there in one step. */
import { randomBytes } from "node:crypto";
import { open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { spreadSubdirectories } from "../host/directory-placement.ts";
import { mkdir, mkdirSync, rename, rm, writeFile } from "../host/files.ts";

/**
 * INVARIANTS
 *  - What is under `layers` and `active` is whole: it was made in `drafts` and renamed.
 *  - What is under `drafts`, `trash` and `views` belongs to a running operation; at start it is removed.
 */
export class Layout {
  readonly root: string;
  readonly layers: string;
  readonly active: string;
  readonly views: string;
  readonly drafts: string;
  readonly trash: string;
  /** The lower directory of snapshots on no layer. */
  readonly empty: string;

  constructor(root: string) {
    this.root = root;
    this.layers = join(root, "layers");
    this.active = join(root, "active");
    this.views = join(root, "views");
    this.drafts = join(root, "drafts");
    this.trash = join(root, "trash");
    this.empty = join(root, "empty");
    for (const path of [this.layers, this.active, this.views, this.drafts, this.trash, this.empty]) {
      mkdirSync(path, { recursive: true, mode: 0o711 });
    }
    spreadSubdirectories(this.drafts);
  }

  /** A new directory for something half made. */
  async newDraft(): Promise<string> {
    const draft = join(this.drafts, randomBytes(8).toString("hex"));
    await mkdir(draft, { mode: 0o711 });
    return draft;
  }

  /** Removes what operations that did not end left behind. */
  async clearLeftovers(): Promise<void> {
    for (const directory of [this.drafts, this.trash, this.views]) {
      for (const name of await readdir(directory)) await rm(join(directory, name), { recursive: true, force: true });
    }
  }

  /** A new mount point for a view. */
  async newView(): Promise<string> {
    const view = join(this.views, randomBytes(8).toString("hex"));
    await mkdir(view, { mode: 0o711 });
    return view;
  }

  /** Takes `path` out of sight in one step, then deletes it; start-up goes on with what is left. Missing is no error. */
  async discard(path: string): Promise<void> {
    const away = join(this.trash, randomBytes(8).toString("hex"));
    try {
      await rename(path, away);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return;
      throw error;
    }
    await rm(away, { recursive: true, force: true });
  }
}

/** Name of the record beside a layer's or snapshot's files. */
export const META = "meta.json";

/** Writes a record so that it is there whole or in its old form; `durable`: also after a power cut. */
export async function writeMeta(directory: string, record: object, durable = true): Promise<void> {
  const draft = join(directory, `${META}.${randomBytes(4).toString("hex")}`);
  try {
    await writeFile(draft, JSON.stringify(record), { mode: 0o600, flush: durable });
    await rename(draft, join(directory, META));
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

/** Undefined when there is none or it is damaged. */
export async function readMeta(directory: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(join(directory, META), "utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return undefined;
    throw error;
  }
}

/** Makes the names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}

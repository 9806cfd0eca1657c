/**
 * Templates: machines that were booted once, up to the moment at which they would be somebody, and saved. `<root>/templates/<key>/` has
 * the memory (which clones map privately), the state of the devices, and the scratch disk that belongs to both. Published by rename, never
 * written to again; the least recently used go when all together take more room than they may.
 */
import { existsSync, readdirSync, readFileSync, statSync, utimesSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { Type } from "typebox";
import { Check } from "typebox/value";
import { newId } from "../base/ids.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { Logger } from "../base/logger.ts";
import type { Field } from "./frames.ts";
import { chmod, mkdir, rename, rm, writeFile } from "../host/files.ts";

export interface Template {
  readonly key: string;
  /** With the files {@link templateFiles}. */
  readonly directory: string;
}

export const templateFiles = {
  ram: "ram",
  state: "state",
  scratch: "scratch.qcow2",
  /** The scratch disk before the machine was booted. */
  pristine: "pristine.qcow2",
  about: "about.json",
} as const;

/** What a template was made of: told when it is looked for, to find those that nothing can match any more. */
export interface TemplateOrigin {
  /** Of the image's disk. */
  readonly image: string;
  /** All else of its key that is not the machine's own, in words of the maker's. */
  readonly ground: string;
  /** What else makes another machine like it, for an engine that has not started one yet. */
  readonly model?: TemplateModel;
}

export interface TemplateModel {
  /** The specification that it was saved with. */
  readonly fields: readonly Field[];
  /** Bytes that the instance was limited to; 0: it was not. */
  readonly memory: number;
}

export interface TemplateOnDisk {
  readonly key: string;
  /** Of the image's disk. */
  readonly image: string;
  readonly bytes: number;
  readonly usedMs: number;
}

export interface TemplatesOptions {
  /** The engine's own directory for machines, on the data root. */
  readonly root: string;
  /** Bytes on the disk for all of them together; 0 keeps none. */
  readonly maxBytes: number;
  readonly log: Logger;
}

export class Templates {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #log: Logger;
  readonly #changing = new KeyedMutex();
  /** Larger than all that there may be: not made again and again. */
  readonly #tooLarge = new Set<string>();

  constructor({ root, maxBytes, log }: TemplatesOptions) {
    this.#directory = join(root, "templates");
    this.#maxBytes = maxBytes;
    this.#log = log;
  }

  /** Whether one would be kept. */
  allows(key: string): boolean {
    return this.#maxBytes > 0 && !this.#tooLarge.has(key);
  }

  /** Without noting that it is used. */
  peek(key: string): Template | undefined {
    const directory = join(this.#directory, key);
    return this.allows(key) && existsSync(directory) ? { key, directory } : undefined;
  }

  /** Notes that it is used. */
  find(key: string): Template | undefined {
    const found = this.peek(key);
    if (found === undefined) return undefined;
    const now = new Date();
    utimesSync(found.directory, now, now);
    return found;
  }

  /**
   * Makes the template unless it is there: `save` leaves its files in the directory that it is given. It goes with the image whose disk it
   * has mounted: one that goes meanwhile is told by `isWanted`.
   */
  async make(
    key: string,
    origin: TemplateOrigin,
    save: (draft: string) => Promise<void>,
    isWanted: () => boolean = () => true,
  ): Promise<void> {
    const directory = join(this.#directory, key);
    if (existsSync(directory)) return;
    const draft = join(this.#directory, `draft-${newId().slice(0, 12)}`);
    try {
      await mkdir(draft, { recursive: true, mode: 0o700 });
      await save(draft);
      await writeFile(join(draft, templateFiles.about), JSON.stringify(origin));
      for (const name of Object.values(templateFiles)) await settle(join(draft, name));
      using _ = await this.#changing.acquire("all");
      if (!isWanted()) return;
      if (bytesOf(draft) > this.#maxBytes) {
        this.#tooLarge.add(key);
        this.#log.warn(
          { template: key, bytes: bytesOf(draft) },
          "a template is larger than all of them may be: not kept",
        );
        return;
      }
      await rename(draft, directory);
      const now = new Date();
      utimesSync(directory, now, now);
      await this.#makeRoom(key);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }

  /** Clones that have it open keep it until they end. */
  async drop(key: string): Promise<void> {
    using _ = await this.#changing.acquire("all");
    await rm(join(this.#directory, key), { recursive: true, force: true });
  }

  async removeImage(image: string): Promise<void> {
    using _ = await this.#changing.acquire("all");
    for (const key of this.#keys()) {
      if (this.#imageOf(key) === image) await rm(join(this.#directory, key), { recursive: true, force: true });
    }
  }

  /** Removes what a killed engine left half made, templates of images that are not needed, and what is more than there may be. */
  async collect(isNeeded: (image: string) => Promise<boolean>): Promise<void> {
    using _ = await this.#changing.acquire("all");
    for (const name of namesIn(this.#directory)) {
      const image = keyPattern.test(name) ? this.#imageOf(name) : undefined;
      if (image !== undefined && (await isNeeded(image))) continue;
      await rm(join(this.#directory, name), { recursive: true, force: true });
    }
    await this.#makeRoom("");
  }

  /** Removes those that nothing can match any more, by what they were made of; one that does not tell is an old engine's. */
  async dropStale(isStale: (origin: TemplateOrigin, key: string) => boolean): Promise<readonly string[]> {
    using _ = await this.#changing.acquire("all");
    const stale = this.#keys().filter((key) => {
      const origin = this.#originOf(key);
      return origin === undefined || isStale(origin, key);
    });
    for (const key of stale) await rm(join(this.#directory, key), { recursive: true, force: true });
    return stale;
  }

  /** Removes them all, and says which: they are made again when they are missed. */
  async prune(): Promise<readonly TemplateOnDisk[]> {
    using _ = await this.#changing.acquire("all");
    const all = this.list();
    for (const { key } of all) await rm(join(this.#directory, key), { recursive: true, force: true });
    return all;
  }

  list(): readonly TemplateOnDisk[] {
    return this.#keys().map((key) => {
      const directory = join(this.#directory, key);
      return { key, image: this.#imageOf(key) ?? "", bytes: bytesOf(directory), usedMs: statSync(directory).mtimeMs };
    });
  }

  /** Undefined for one that does not tell. */
  modelOf(key: string): TemplateModel | undefined {
    return this.#originOf(key)?.model;
  }

  async #makeRoom(keep: string): Promise<void> {
    const all = this.list();
    let total = all.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { key, bytes } of all.toSorted((a, b) => a.usedMs - b.usedMs)) {
      if (total <= this.#maxBytes) return;
      if (key === keep) continue;
      await rm(join(this.#directory, key), { recursive: true, force: true });
      total -= bytes;
    }
  }

  #keys(): readonly string[] {
    return namesIn(this.#directory).filter((name) => keyPattern.test(name));
  }

  #imageOf(key: string): string | undefined {
    return this.#originOf(key)?.image;
  }

  /** Undefined for what is no template: it goes with the next collection. */
  #originOf(key: string): TemplateOrigin | undefined {
    try {
      const about: unknown = JSON.parse(readFileSync(join(this.#directory, key, templateFiles.about), "utf8"));
      if (typeof about !== "object" || about === null || !("image" in about) || !("ground" in about)) return undefined;
      const { image, ground } = about;
      if (typeof image !== "string" || typeof ground !== "string") return undefined;
      const model = "model" in about && Check(Model, about.model) ? { model: about.model } : {};
      return { image, ground, ...model };
    } catch {
      return undefined;
    }
  }
}

const Model = Type.Object({
  fields: Type.Array(Type.Tuple([Type.String(), Type.String()])),
  memory: Type.Integer({ minimum: 0 }),
});

const keyPattern = /^[0-9a-f]{64}$/;

/** On the disk before it is published, as half of a memory is worse than none; and nobody's to write to. */
async function settle(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  await chmod(path, 0o400);
}

/** As du(1) counts: a memory has holes where nothing was written. */
function bytesOf(directory: string): number {
  return namesIn(directory).reduce((sum, name) => sum + statSync(join(directory, name)).blocks * 512, 0);
}

function namesIn(directory: string): readonly string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}

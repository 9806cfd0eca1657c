import type { Clock } from "../base/clock.ts";
import { ImageRecord } from "../schema/image.ts";
import type { Collection, Store } from "../state/store.ts";
import { imageErrors } from "./errors.ts";
import { formatReference, formatFamiliar, parseReference, type Reference, withDefaultTag } from "./reference.ts";

/** Normalised names to give to an image. */
export interface NewNames {
  readonly tag?: string;
  readonly repoDigest?: string;
}

/** Something that a name was moved away from. */
export interface TagChange {
  readonly image: ImageRecord;
  /** The image that had the tag before, when it was another. */
  readonly previous: ImageRecord | undefined;
}

const ID_PREFIX = /^(?:sha256:)?([0-9a-f]{4,64})$/;

/**
 * The records of images, and which name is whose.
 *
 * INVARIANT: a tag or repository digest belongs to one image at most; every change of it is one transaction.
 */
export class ImageStore {
  readonly #store: Store;
  readonly #records: Collection<ImageRecord>;
  readonly #clock: Clock;
  /** Normalised tag or repository digest -> image id; made again after a change. */
  #names: Map<string, string> | undefined;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#records = store.collection("images", ImageRecord);
  }

  get(id: string): ImageRecord | undefined {
    return this.#records.get(id);
  }

  list(): readonly ImageRecord[] {
    return this.#records.list();
  }

  /** Images made from this one. */
  children(id: string): readonly ImageRecord[] {
    return this.list().filter((record) => record.parentId === id);
  }

  /** By exact name; a reference with a digest is looked up by that. */
  byReference(reference: Reference): ImageRecord | undefined {
    const id = this.#nameIndex().get(formatReference(lookupForm(reference)));
    return id === undefined ? undefined : this.get(id);
  }

  /** By name, id or id prefix, in this order, as Docker looks. `IMAGE_NOT_FOUND`, `IMAGE_ID_AMBIGUOUS`, `IMAGE_REFERENCE_INVALID`. */
  resolve(refOrId: string): ImageRecord {
    const prefix = ID_PREFIX.exec(refOrId)?.[1];
    const exact = prefix?.length === 64 ? this.get(`sha256:${prefix}`) : undefined;
    if (exact !== undefined) return exact;
    if (prefix?.length === 64) throw imageErrors.IMAGE_NOT_FOUND({ reference: refOrId });
    const reference = withDefaultTag(parseReference(refOrId));
    const named = this.byReference(reference);
    if (named !== undefined) return named;
    const matches = prefix === undefined ? [] : this.list().filter(({ id }) => id.startsWith(`sha256:${prefix}`));
    const [match] = matches;
    if (prefix === undefined || match === undefined) {
      throw imageErrors.IMAGE_NOT_FOUND({ reference: formatFamiliar(reference) });
    }
    if (matches.length > 1) throw imageErrors.IMAGE_ID_AMBIGUOUS({ prefix, matches: matches.length });
    return match;
  }

  /**
   * Stores an image, keeping the names, the parent and "asked for" of one that is there already, and gives it `names`. One
   * transaction: call it when blobs and layers are durable.
   */
  put(image: Omit<ImageRecord, "tags" | "repoDigests" | "lastTaggedAt">, names: NewNames = {}): TagChange {
    return this.#change(() => {
      const before = this.get(image.id);
      const parentId = image.parentId ?? before?.parentId;
      this.#records.put(image.id, {
        ...(before ?? { tags: [], repoDigests: [] }),
        ...image,
        ...(parentId === undefined ? {} : { parentId }),
        intermediate: image.intermediate && (before?.intermediate ?? true),
      });
      return this.#setNames(image.id, names);
    });
  }

  /** Gives the names to the image, taking them from whoever has them. */
  name(id: string, names: NewNames): TagChange {
    return this.#change(() => this.#setNames(id, names));
  }

  /** Takes a tag or repository digest from its image. No such name is no error. */
  untag(name: string): void {
    this.#change(() => {
      const id = this.#nameIndex().get(name);
      const record = id === undefined ? undefined : this.get(id);
      if (record !== undefined) this.#records.put(record.id, without(record, name));
    });
  }

  delete(id: string): void {
    this.#change(() => this.#records.delete(id));
  }

  /** All changes of `work` in one transaction: an image is never there without the names that it was to have. */
  atOnce<T>(work: () => T): T {
    return this.#change(work);
  }

  #setNames(id: string, { tag, repoDigest }: NewNames): TagChange {
    if (repoDigest !== undefined) this.#addRepoDigest(id, repoDigest);
    return tag === undefined ? { image: this.#mustGet(id), previous: undefined } : this.#setTag(id, tag);
  }

  #setTag(id: string, name: string): TagChange {
    const ownerId = this.#nameIndex().get(name);
    const owner = ownerId === undefined || ownerId === id ? undefined : this.get(ownerId);
    if (owner !== undefined) this.#records.put(owner.id, without(owner, name));
    const record = this.#mustGet(id);
    const tagged: ImageRecord = {
      ...record,
      tags: record.tags.includes(name) ? record.tags : [...record.tags, name],
      intermediate: false,
      lastTaggedAt: new Date(this.#clock.now()).toISOString(),
    };
    this.#records.put(id, tagged);
    return { image: tagged, previous: owner };
  }

  #addRepoDigest(id: string, name: string): void {
    const ownerId = this.#nameIndex().get(name);
    const owner = ownerId === undefined || ownerId === id ? undefined : this.get(ownerId);
    if (owner !== undefined) this.#records.put(owner.id, without(owner, name));
    const record = this.#mustGet(id);
    if (record.repoDigests.includes(name)) return;
    this.#records.put(id, { ...record, repoDigests: [...record.repoDigests, name] });
  }

  #mustGet(id: string): ImageRecord {
    const record = this.get(id);
    if (record === undefined) throw imageErrors.IMAGE_NOT_FOUND({ reference: id });
    return record;
  }

  #change<T>(work: () => T): T {
    try {
      return this.#store.transaction(work);
    } finally {
      this.#names = undefined;
    }
  }

  #nameIndex(): ReadonlyMap<string, string> {
    this.#names ??= new Map(
      this.list().flatMap(({ id, tags, repoDigests }) =>
        [...tags, ...repoDigests].map((name): [string, string] => [name, id]),
      ),
    );
    return this.#names;
  }
}

/** Names are kept either as NAME:TAG or as NAME@DIGEST; of NAME:TAG@DIGEST the digest counts. */
export function lookupForm({ domain, path, tag, digest }: Reference): Reference {
  if (digest !== undefined) return { domain, path, digest };
  return tag === undefined ? { domain, path, tag: "latest" } : { domain, path, tag };
}

function without(record: ImageRecord, name: string): ImageRecord {
  return {
    ...record,
    tags: record.tags.filter((tag) => tag !== name),
    repoDigests: record.repoDigests.filter((digest) => digest !== name),
  };
}

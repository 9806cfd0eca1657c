import { shortId } from "../base/ids.ts";
import type { OpContext } from "../base/op-context.ts";
import type { ImageRecord } from "../schema/image.ts";
import { imageErrors } from "./errors.ts";
import { contentOf } from "./garbage.ts";
import type { ImageRoom } from "./image-room.ts";
import { imageLease } from "./leases.ts";
import type { ImageUsers, RemovedImage } from "./image-service.ts";
import { lookupForm } from "./image-store.ts";
import {
  formatFamiliar,
  formatReference,
  parseReference,
  repositoryName,
  type Reference,
  withDefaultTag,
} from "./reference.ts";

export interface Removal {
  readonly removed: readonly RemovedImage[];
  readonly bytes: number;
}

/** Why an image can't be deleted. "hard" ones can't be forced. */
interface Conflict {
  readonly hard: boolean;
  /** An instance uses it. */
  readonly used: boolean;
  readonly reason: string;
}

type ConflictKind = "children" | "running" | "references" | "stopped";
const HARD: readonly ConflictKind[] = ["children", "running"];
const ALL: readonly ConflictKind[] = ["children", "running", "references", "stopped"];

/**
 * Removes images as Docker does: a name is taken away first, the image goes with its last name; an id removes all names when they
 * are of one repository. Parents that only this image kept go as well, unless `noPrune`.
 */
export class ImageRemover {
  readonly #room: ImageRoom;
  readonly #users: ImageUsers;

  constructor(room: ImageRoom, users: ImageUsers) {
    this.#room = room;
    this.#users = users;
  }

  async remove(
    ctx: OpContext,
    refOrId: string,
    options: { readonly force: boolean; readonly noPrune: boolean },
  ): Promise<Removal> {
    const { images } = this.#room;
    const image = images.resolve(refOrId);
    const removed: RemovedImage[] = [];
    const byId = isIdPrefix(image.id, refOrId);
    // Names and records at once: a killed engine leaves all of them, or none.
    const deleted = images.atOnce(() => {
      if (byId) this.#untagById(image, options.force, removed);
      else if (this.#untagByName(image, refOrId, options.force, removed)) return [];
      return this.#delete(image.id, { ...options, quiet: !byId }, removed);
    });
    let bytes = 0;
    for (const each of deleted) {
      removed.push({ deleted: each.id });
      const collected = await this.#room.garbage.collect(ctx, contentOf(each));
      for (const layer of collected.layers) removed.push({ deleted: layer });
      bytes += collected.bytes;
    }
    return { removed, bytes };
  }

  /** Takes the name away, and with the last tag of a repository its digests; true when other names are left. */
  #untagByName(image: ImageRecord, refOrId: string, force: boolean, removed: RemovedImage[]): boolean {
    const { images, events } = this.#room;
    const [user] = this.#users(image.id);
    if (!force && isSingleReference(referencesOf(image)) && user !== undefined) {
      throw imageErrors.IMAGE_IN_USE({
        message: `unable to remove repository reference "${refOrId}" (must force) - container ${shortId(user.instanceId)} is using its referenced image ${shortId(image.id)}`,
      });
    }
    const reference = lookupForm(withDefaultTag(parseReference(refOrId)));
    images.untag(formatReference(reference));
    events.changed("untag", image);
    removed.push({ untagged: formatFamiliar(reference) });

    const left = referencesOf(images.get(image.id));
    const repository = repositoryName(reference);
    const hasTag = left.some((other) => other.digest === undefined && repositoryName(other) === repository);
    if (reference.digest === undefined && !hasTag) {
      for (const other of left.filter((other) => repositoryName(other) === repository)) {
        images.untag(formatReference(other));
        removed.push({ untagged: formatFamiliar(other) });
      }
    }
    return referencesOf(images.get(image.id)).length > 0;
  }

  #untagById(image: ImageRecord, force: boolean, removed: RemovedImage[]): void {
    const references = referencesOf(image);
    if (!isSingleReference(references)) return;
    const conflict = this.#conflict(image, force ? HARD : ["children", "running", "stopped"]);
    if (conflict !== undefined) throw conflictError(image, conflict);
    this.#untagAll(image, removed);
  }

  /** Deletes the image's record and, quietly, those of the parents that it kept. Returns what was deleted, the image first. */
  #delete(
    id: string,
    options: { readonly force: boolean; readonly noPrune: boolean; readonly quiet: boolean },
    removed: RemovedImage[],
  ): readonly ImageRecord[] {
    const { images, events } = this.#room;
    const image = images.get(id);
    if (image === undefined) return [];
    const conflict = this.#conflict(image, options.force ? HARD : ALL);
    if (conflict !== undefined) {
      const dangling = referencesOf(image).length === 0 && images.children(id).length === 0;
      if (options.quiet && (!dangling || conflict.used)) return [];
      throw conflictError(image, conflict);
    }
    this.#untagAll(image, removed);
    images.delete(id);
    events.changed("delete", image);
    if (options.noPrune || image.parentId === undefined) return [image];
    return [image, ...this.#delete(image.parentId, { force: false, noPrune: false, quiet: true }, removed)];
  }

  #untagAll(image: ImageRecord, removed: RemovedImage[]): void {
    for (const reference of referencesOf(image)) {
      this.#room.images.untag(formatReference(reference));
      this.#room.events.changed("untag", image);
      removed.push({ untagged: formatFamiliar(reference) });
    }
  }

  #conflict(image: ImageRecord, kinds: readonly ConflictKind[]): Conflict | undefined {
    const users = this.#users(image.id);
    for (const kind of kinds) {
      switch (kind) {
        case "children":
          if (this.#room.images.children(image.id).length > 0) {
            return { hard: true, used: false, reason: "image has dependent child images" };
          }
          break;
        case "running":
        case "stopped": {
          if (kind === "running" && this.#room.leases.isHeld(imageLease(image.id))) {
            return { hard: true, used: true, reason: "image is being used by a running build" };
          }
          const user = users.find(({ running }) => running === (kind === "running"));
          if (user === undefined) break;
          const reason = `image is being used by ${kind} container ${shortId(user.instanceId)}`;
          return { hard: kind === "running", used: true, reason };
        }
        case "references":
          if (referencesOf(image).length > 0) {
            return { hard: false, used: false, reason: "image is referenced in multiple repositories" };
          }
          break;
      }
    }
    return undefined;
  }
}

function conflictError(image: ImageRecord, { hard, reason }: Conflict): Error {
  const force = hard ? "cannot be forced" : "must be forced";
  return imageErrors.IMAGE_IN_USE({ message: `unable to delete ${shortId(image.id)} (${force}) - ${reason}` });
}

function referencesOf(image: ImageRecord | undefined): readonly Reference[] {
  return [...(image?.tags ?? []), ...(image?.repoDigests ?? [])].map(parseReference);
}

/** One name, or one tag with digests of its own repository only. */
function isSingleReference(references: readonly Reference[]): boolean {
  if (references.length <= 1) return references.length === 1;
  const tags = references.filter(({ digest }) => digest === undefined);
  const repositories = new Set(references.map(repositoryName));
  return tags.length <= 1 && repositories.size === 1;
}

function isIdPrefix(id: string, text: string): boolean {
  return id.startsWith(text) || id.slice("sha256:".length).startsWith(text);
}

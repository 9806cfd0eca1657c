import { posix } from "node:path";
import type { Readable } from "node:stream";
import { fromBinary, type TarEntry } from "../archive/tar-entry.ts";
import { TarParser } from "../archive/tar-parser.ts";
import { newId } from "../base/ids.ts";
import type { OpContext } from "../base/op-context.ts";
import type { BlobInfo, BlobWriter } from "../content/content-store.ts";
import { decompressAuto } from "./compression.ts";
import { imageErrors } from "./errors.ts";
import type { ImageRoom } from "./image-room.ts";

/** Files of old archives that say nothing that manifest.json and the configurations don't. */
const IGNORED = /^(?:oci-layout|repositories|VERSION|.*\/VERSION|.*\/json)$/;
const BLOB = /^blobs\/sha256\/([0-9a-f]{64})$/;
const DOCUMENT_LIMIT = 8 << 20;
/** Of an archive of every image that there is; more is an attack. */
const MAX_ENTRIES = 1_000_000;
/** Links to links, at most. */
const MAX_LINKS = 8;

/**
 * An image archive's files, as blobs of the store. Each is written as it streams by; nothing is held in memory or unpacked under
 * a name of the archive's. Disposing lets go of what no image took.
 */
export class ImageArchive implements AsyncDisposable {
  readonly #room: ImageRoom;
  readonly #ctx: OpContext;
  readonly #files = new Map<string, BlobInfo>();
  readonly #links = new Map<string, string>();
  readonly #leases: Disposable[] = [];

  private constructor(ctx: OpContext, room: ImageRoom) {
    this.#ctx = ctx;
    this.#room = room;
  }

  /** Reads the whole tar, plain or compressed. A broken tar is the archive room's errors, `BLOB_DIGEST_MISMATCH` names the entry. */
  static async read(ctx: OpContext, room: ImageRoom, source: Readable): Promise<ImageArchive> {
    const archive = new ImageArchive(ctx, room);
    try {
      await archive.#readAll(await decompressAuto(ctx, room.processes, source));
      return archive;
    } catch (error) {
      await archive[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The blob of an entry, through the archive's own links. */
  find(name: string): BlobInfo | undefined {
    let path = normalise(name);
    for (let links = 0; links <= MAX_LINKS; links += 1) {
      const file = this.#files.get(path);
      if (file !== undefined) return file;
      const target = this.#links.get(path);
      if (target === undefined) return undefined;
      path = target;
    }
    return undefined;
  }

  /** Like {@link find}; throws `ARCHIVE_NOT_AN_IMAGE` when there is none. */
  blob(name: string): BlobInfo {
    const file = this.find(name);
    if (file === undefined) throw imageErrors.ARCHIVE_NOT_AN_IMAGE({ reason: `it has no "${name}"` });
    return file;
  }

  /** Of all its files and links. */
  names(): readonly string[] {
    return [...this.#files.keys(), ...this.#links.keys()];
  }

  async document(name: string): Promise<Uint8Array> {
    return await this.#room.content.readSmall(this.blob(name).digest);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const lease of this.#leases) lease[Symbol.dispose]();
    const blobs = [...this.#files.values()].map(({ digest }) => digest);
    // A fresh context: the load's own may be what was aborted.
    await this.#room.garbage.collect(
      { log: this.#ctx.log, signal: new AbortController().signal },
      { blobs, chains: [] },
    );
  }

  /** The parser hands entries on as it meets them; they are stored before it gets the next piece. */
  async #readAll(source: AsyncIterable<Buffer>): Promise<void> {
    const steps: Step[] = [];
    const parser = new TarParser(
      {
        entry: (entry) => steps.push({ kind: "entry", entry }),
        data: (chunk) => steps.push({ kind: "data", chunk }),
        endEntry: () => steps.push({ kind: "end" }),
      },
      { maxBytes: Number.POSITIVE_INFINITY, maxEntries: MAX_ENTRIES },
    );
    let current: OpenEntry | undefined;
    try {
      for await (const chunk of source) {
        this.#ctx.signal.throwIfAborted();
        parser.feed(chunk);
        for (const step of steps) {
          if (step.kind === "entry") current = await this.#start(step.entry);
          else if (step.kind === "data") await current?.writer.write(step.chunk);
          else if (current !== undefined) current = await this.#end(current);
        }
        steps.length = 0;
      }
      parser.end();
    } finally {
      await current?.writer.discard();
    }
  }

  /** Opens the blob for a file that is of use; links are remembered. */
  async #start(entry: TarEntry): Promise<OpenEntry | undefined> {
    const name = normalise(fromBinary(entry.name));
    const target = fromBinary(entry.linkName);
    if (entry.type === "symlink") this.#links.set(name, normalise(posix.join(posix.dirname(name), target)));
    if (entry.type === "hardlink") this.#links.set(name, normalise(target));
    if (entry.type !== "file" || IGNORED.test(name)) return undefined;
    if (entry.sparse !== undefined) throw imageErrors.ARCHIVE_NOT_AN_IMAGE({ reason: `"${name}" is sparse` });
    if (name.endsWith(".json") && entry.size > DOCUMENT_LIMIT) {
      throw imageErrors.ARCHIVE_NOT_AN_IMAGE({ reason: `"${name}" has ${entry.size} bytes` });
    }
    const { content, leases } = this.#room;
    const hex = BLOB.exec(name)?.[1];
    const digest = hex === undefined ? undefined : `sha256:${hex}`;
    if (digest !== undefined) {
      this.#leases.push(await leases.hold([digest]));
      const known = await content.stat(digest);
      if (known !== undefined) {
        this.#files.set(name, known);
        return undefined;
      }
    }
    return { name, digest, writer: await content.writer(this.#ctx, `${name} (archive ${newId().slice(0, 12)})`) };
  }

  async #end({ name, digest, writer }: OpenEntry): Promise<undefined> {
    const info = await writer.commit(digest === undefined ? {} : { digest });
    if (digest === undefined) this.#leases.push(await this.#room.leases.hold([info.digest]));
    this.#files.set(name, info);
    return undefined;
  }
}

type Step =
  | { readonly kind: "entry"; readonly entry: TarEntry }
  | { readonly kind: "data"; readonly chunk: Uint8Array }
  | { readonly kind: "end" };

interface OpenEntry {
  readonly name: string;
  /** What its name promises. */
  readonly digest: string | undefined;
  readonly writer: BlobWriter;
}

/** "./a//b" and "/a/b" are "a/b". Names only look things up: nothing is opened by them. */
function normalise(name: string): string {
  return posix.normalize(`/${name}`).slice(1).replace(/\/$/, "");
}

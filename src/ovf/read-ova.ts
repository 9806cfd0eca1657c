/**
 * Receives an OVA archive: a tar of one description, its manifest and the files that it names. Everything is hostile: names choose no
 * path (files are kept under numbers of ours), and what nobody named is refused.
 */
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { OpContext } from "../base/op-context.ts";
import { TarParser } from "../archive/tar-parser.ts";
import { fromBinary, type TarEntry } from "../archive/tar-entry.ts";
import { failpoints } from "../host/failpoints.ts";
import { ovfErrors } from "./errors.ts";
import { type DigestAlgorithm, readManifest } from "./manifest.ts";
import type { OvfFile } from "./ovf-machine.ts";
import { type OvfPackage, readEnvelope } from "./read-envelope.ts";

const maxTextBytes = 2 * 1024 * 1024;
const maxEntries = 1000;

export interface ReceivedFile {
  readonly path: string;
  readonly size: number;
}

export interface ReceivedOva extends OvfPackage {
  /** The pieces of a file of the description in order: one, if it is not cut up. */
  readonly pieces: (file: OvfFile) => readonly ReceivedFile[];
}

interface Received extends ReceivedFile {
  readonly name: string;
  readonly digests: ReadonlyMap<DigestAlgorithm, string>;
}

/**
 * Reads the archive to its end. Its files are in `directory` then, which is the caller's to remove, also when this fails.
 * `OVA_ENTRY_REFUSED`, `OVA_FILE_MISSING`, `OVA_DIGEST_MISMATCH`, `OVA_TOO_LARGE`, `OVF_INVALID`, `OVF_UNSUPPORTED`; `ARCHIVE_TRUNCATED`
 * and others of the archive.
 */
export async function receiveOva(
  ctx: OpContext,
  source: AsyncIterable<Buffer>,
  options: { readonly directory: string; readonly maxBytes: number },
): Promise<ReceivedOva> {
  const files = await new OvaReceiver(options.directory, options.maxBytes).receive(ctx, source);
  const [description, ...others] = files.filter(({ name }) => extensionOf(name) === "ovf");
  if (description === undefined)
    throw ovfErrors.OVF_INVALID({ reason: "the archive has none: no file that ends in .ovf" });
  const [second] = others;
  if (second !== undefined) throw refused(second.name, "a second description");
  const manifest = files.find(({ name }) => extensionOf(name) === "mf");
  if (manifest !== undefined) await verify(files, manifest);

  const found = readEnvelope(await contents(description));
  const pieces = (file: OvfFile) => piecesOf(file, files);
  const named = new Set(found.files.flatMap((file) => pieces(file).map(({ path }) => path)));
  const stray = files.find(({ name, path }) => !named.has(path) && !["ovf", "mf", "cert"].includes(extensionOf(name)));
  if (stray !== undefined) throw refused(stray.name, "the description does not name it");
  return { ...found, pieces };
}

/** Writes entries to files. The parser hands out data while it is fed; what it handed out is written before it is fed again. */
class OvaReceiver {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #files: Received[] = [];
  #algorithms: readonly DigestAlgorithm[] = ["sha256", "sha1"];
  #todo: (() => Promise<void>)[] = [];
  #current:
    | {
        readonly name: string;
        readonly path: string;
        size: number;
        readonly hashes: Map<DigestAlgorithm, Hash>;
        file: FileHandle | undefined;
      }
    | undefined;

  constructor(directory: string, maxBytes: number) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
  }

  async receive(ctx: OpContext, source: AsyncIterable<Buffer>): Promise<readonly Received[]> {
    const parser = new TarParser(
      {
        entry: (entry) => this.#todo.push(() => this.#begin(entry)),
        data: (chunk) => {
          // The buffer is only lent.
          const copy = Buffer.from(chunk);
          this.#todo.push(() => this.#write(copy));
        },
        endEntry: () => this.#todo.push(() => this.#end()),
      },
      { maxBytes: Number.POSITIVE_INFINITY, maxEntries },
    );
    let bytes = 0;
    try {
      for await (const chunk of source) {
        ctx.signal.throwIfAborted();
        bytes += chunk.length;
        if (bytes > this.#maxBytes) throw ovfErrors.OVA_TOO_LARGE({ bytes, max: this.#maxBytes });
        parser.feed(chunk);
        await this.#drain();
      }
      parser.end();
      await this.#drain();
    } finally {
      await this.#current?.file?.close();
    }
    return this.#files;
  }

  async #drain(): Promise<void> {
    const todo = this.#todo;
    this.#todo = [];
    for (const step of todo) await step();
  }

  async #begin(entry: TarEntry): Promise<void> {
    const name = plainName(entry);
    if (this.#files.some((file) => file.name === name)) throw refused(name, "it is there twice");
    const isText = ["ovf", "mf", "cert"].includes(extensionOf(name));
    if (isText && entry.size > maxTextBytes) throw refused(name, `it has more than ${maxTextBytes} bytes`);
    if (entry.sparse !== undefined) throw refused(name, "it is a sparse file");
    const path = join(this.#directory, `${this.#files.length}.part`);
    if (failpoints.on) await failpoints.before("file.write", path);
    const hashes = new Map(this.#algorithms.map((algorithm) => [algorithm, createHash(algorithm)]));
    this.#current = { name, path, size: 0, hashes, file: undefined };
    this.#current.file = await open(path, "wx", 0o600);
  }

  async #write(chunk: Buffer): Promise<void> {
    const current = this.#current;
    if (current?.file === undefined) return;
    for (const hash of current.hashes.values()) hash.update(chunk);
    for (let written = 0; written < chunk.length; ) {
      written += (await current.file.write(chunk, written)).bytesWritten;
    }
    current.size += chunk.length;
  }

  async #end(): Promise<void> {
    const current = this.#current;
    if (current?.file === undefined) return;
    this.#current = undefined;
    await current.file.close();
    const digests = new Map([...current.hashes].map(([algorithm, hash]) => [algorithm, hash.digest("hex")]));
    const { name, path, size } = current;
    this.#files.push({ name, path, size, digests });
    // It comes before what it speaks of, as a rule: only what it wants has to be reckoned then.
    if (extensionOf(name) === "mf") {
      const lines = readManifest((await contents({ path })).toString("utf8"));
      this.#algorithms = [...new Set(lines.map(({ algorithm }) => algorithm))];
    }
  }
}

/** A regular file at the top, by a name that is no path. */
function plainName(entry: TarEntry): string {
  const name = fromBinary(entry.name).replace(/^\.\//, "");
  if (entry.type !== "file") throw refused(name, `it is a ${entry.type}`);
  if (name.includes("..") || name.startsWith("/") || name.includes("\\"))
    throw refused(name, "its name leads elsewhere");
  // oxlint-disable-next-line no-control-regex -- they are what it looks for
  if (name === "" || name.length > 255 || name.startsWith(".") || /[/\u0000-\u001f]/.test(name)) {
    throw refused(name, "its name is not that of a file beside the description");
  }
  return name;
}

async function verify(files: readonly Received[], manifest: Received): Promise<void> {
  const lines = readManifest((await contents(manifest)).toString("utf8"));
  for (const { file, algorithm, digest } of lines) {
    const found = files.find(({ name }) => name === file);
    if (found === undefined) throw ovfErrors.OVA_FILE_MISSING({ file });
    const actual = found.digests.get(algorithm) ?? (await digestOf(found, algorithm));
    if (actual !== digest) throw ovfErrors.OVA_DIGEST_MISMATCH({ file, algorithm: algorithm.toUpperCase() });
  }
  const listed = new Set(lines.map(({ file }) => file));
  const unlisted = files.find(({ name }) => !listed.has(name) && !["mf", "cert"].includes(extensionOf(name)));
  if (unlisted !== undefined) throw refused(unlisted.name, "the manifest does not list it");
}

async function digestOf({ path }: Received, algorithm: DigestAlgorithm): Promise<string> {
  const hash = createHash(algorithm);
  await using file = await open(path, "r");
  for await (const chunk of file.createReadStream({ autoClose: false, highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return hash.digest("hex");
}

async function contents({ path }: { readonly path: string }): Promise<Buffer> {
  await using file = await open(path, "r");
  return await file.readFile();
}

function piecesOf(file: OvfFile, files: readonly Received[]): readonly ReceivedFile[] {
  const byName = (name: string) => files.find((received) => received.name === name);
  const whole = byName(file.href);
  if (whole !== undefined) return [checked(file, [whole])];
  const pieces: ReceivedFile[] = [];
  // "<href>.000000000" and on (DSP0243, 7.1).
  for (let index = 0; file.chunkSize !== undefined; index++) {
    const piece = byName(`${file.href}.${String(index).padStart(9, "0")}`);
    if (piece === undefined) break;
    pieces.push(piece);
  }
  if (pieces.length === 0) throw ovfErrors.OVA_FILE_MISSING({ file: file.href });
  checked(file, pieces);
  return pieces;

  function checked({ href, size }: OvfFile, [first, ...rest]: readonly ReceivedFile[]): ReceivedFile {
    const bytes = [first, ...rest].reduce((sum, piece) => sum + (piece?.size ?? 0), 0);
    if (first === undefined || (size !== undefined && size !== 0 && bytes !== size)) {
      throw refused(href, `it has ${bytes} bytes, and the description says ${size ?? 0}`);
    }
    return first;
  }
}

function extensionOf(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1).toLowerCase();
}

function refused(entry: string, reason: string): Error {
  return ovfErrors.OVA_ENTRY_REFUSED({ entry, reason });
}

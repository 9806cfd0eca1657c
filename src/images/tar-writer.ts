/** Writes plain tars of files with short names: the archives that we make ourselves. */

export type TarFile =
  | { readonly kind: "directory"; readonly name: string; readonly mtime?: number }
  | {
      readonly kind: "file";
      readonly name: string;
      /** 0644 unless given. */
      readonly mode?: number;
      /** Seconds since the epoch; 0 unless given. */
      readonly mtime?: number;
      readonly size: number;
      readonly body: AsyncIterable<Uint8Array> | Uint8Array;
    };

const BLOCK = 512;
const MAX_NAME = 100;
/** Largest size that the header's 11 octal digits hold. */
const MAX_OCTAL = 8 ** 11 - 1;

/** The tar's bytes (POSIX ustar; GNU base-256 for sizes of 8 GiB and more). The same files make the same bytes; all are root's. */
export async function* writeTar(files: AsyncIterable<TarFile> | Iterable<TarFile>): AsyncGenerator<Buffer> {
  yield* writeTarEntries(files);
  yield Buffer.alloc(2 * BLOCK);
}

/** The same without the end mark: another tar may follow. */
export async function* writeTarEntries(files: AsyncIterable<TarFile> | Iterable<TarFile>): AsyncGenerator<Buffer> {
  for await (const file of files) {
    yield header(file);
    if (file.kind === "directory") continue;
    let written = 0;
    for await (const chunk of file.body instanceof Uint8Array ? [file.body] : file.body) {
      written += chunk.length;
      yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    }
    if (written !== file.size) throw new Error(`"${file.name}" has ${written} bytes, not ${file.size}`);
    const padding = (BLOCK - (written % BLOCK)) % BLOCK;
    if (padding > 0) yield Buffer.alloc(padding);
  }
}

function header(file: TarFile): Buffer {
  const block = Buffer.alloc(BLOCK);
  if (Buffer.byteLength(file.name) > MAX_NAME) throw new Error(`the name "${file.name}" is too long for a tar header`);
  const size = file.kind === "file" ? file.size : 0;
  block.write(file.name, 0);
  octal(block, 100, 8, file.kind === "file" ? (file.mode ?? 0o644) : 0o755);
  octal(block, 108, 8, 0);
  octal(block, 116, 8, 0);
  if (size <= MAX_OCTAL) octal(block, 124, 12, size);
  else {
    block[124] = 0x80;
    block.writeBigUInt64BE(BigInt(size), 128);
  }
  octal(block, 136, 12, file.mtime ?? 0);
  block.write(file.kind === "file" ? "0" : "5", 156);
  block.write("ustar\u000000", 257);
  block.fill(" ", 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

function octal(block: Buffer, offset: number, width: number, value: number): void {
  block.write(`${value.toString(8).padStart(width - 1, "0")}\0`, offset);
}

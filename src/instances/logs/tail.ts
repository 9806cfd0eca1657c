import type { FileHandle } from "node:fs/promises";
import { parseEntry } from "./k8s-file.ts";
import type { LogFile } from "./log-files.ts";

export interface LogPosition {
  /** Index in the list of files. */
  readonly file: number;
  readonly offset: number;
}

interface Wanted {
  readonly stdout: boolean;
  readonly stderr: boolean;
}

const blockBytes = 64 * 1024;
const newline = 0x0a;

/**
 * Where the last `count` lines of the wanted streams begin, found by reading backwards: the cost depends on `count`, not on
 * the size of the log. A line that its writer has not ended yet counts.
 */
export async function tailPosition(files: readonly LogFile[], count: number, wanted: Wanted): Promise<LogPosition> {
  let lines = 0;
  const seen = new Set<string>();
  for (let index = files.length - 1; index >= 0; index--) {
    const file = files[index];
    if (file === undefined) break;
    for await (const { end, bytes } of entriesBackwards(file)) {
      const entry = parseEntry(bytes);
      if (entry === undefined || !wanted[entry.stream]) continue;
      const endsLine = !entry.partial || !seen.has(entry.stream);
      seen.add(entry.stream);
      if (!endsLine) continue;
      lines++;
      if (lines > count) return { file: index, offset: end };
    }
  }
  return { file: 0, offset: 0 };
}

interface RawEntry {
  /** Offset after its newline. */
  readonly end: number;
  readonly bytes: Uint8Array;
}

async function* entriesBackwards({ handle, size }: LogFile): AsyncGenerator<RawEntry> {
  let from = size;
  // Bytes from `from` to the end of the entry that is not wholly read yet.
  let tail: Uint8Array = new Uint8Array(0);
  while (from > 0) {
    const length = Math.min(blockBytes, from);
    from -= length;
    tail = Buffer.concat([await readExactly(handle, from, length), tail]);
    let end = tail.byteLength;
    // The newline at the very end closes the last entry: the one before it separates it from its predecessor.
    for (let at = newlineBefore(tail, end); at >= 0; at = newlineBefore(tail, end)) {
      yield rawEntry(from, tail, at + 1, end);
      end = at + 1;
    }
    tail = tail.subarray(0, end);
  }
  if (tail.byteLength > 0) yield rawEntry(0, tail, 0, tail.byteLength);
}

/** Index of the newline that ends the entry before the one which ends at `end`; -1 when that is not in `bytes`. */
function newlineBefore(bytes: Uint8Array, end: number): number {
  return end < 2 ? -1 : bytes.lastIndexOf(newline, end - 2);
}

function rawEntry(base: number, bytes: Uint8Array, start: number, end: number): RawEntry {
  const textEnd = bytes[end - 1] === newline ? end - 1 : end;
  return { end: base + end, bytes: bytes.subarray(start, textEnd) };
}

async function readExactly(handle: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

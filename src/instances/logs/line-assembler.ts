import type { LogLine } from "../instance-service.ts";
import { parseEntry, utcTime } from "./k8s-file.ts";

const newline = 0x0a;

/** A line is handed on in pieces beyond this, so that a program that never ends its line can't fill the memory. */
const maxLineBytes = 1024 * 1024;

interface Open {
  readonly time: string;
  readonly pieces: Uint8Array[];
  size: number;
}

/** Makes whole lines of a log file's bytes, fed in any pieces: joins partial entries, each stream's by itself. */
export class LineAssembler {
  #rest: Uint8Array = new Uint8Array(0);
  readonly #open = new Map<LogLine["stream"], Open>();

  *feed(bytes: Uint8Array): Generator<LogLine> {
    const data = this.#rest.byteLength === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let start = 0;
    for (let end = data.indexOf(newline); end >= 0; end = data.indexOf(newline, start)) {
      const line = this.#entry(data.subarray(start, end));
      if (line !== undefined) yield line;
      start = end + 1;
    }
    this.#rest = Buffer.from(data.subarray(start));
  }

  /** The lines that were never ended: for when no more will come. */
  *flush(): Generator<LogLine> {
    for (const [stream, open] of this.#open) yield lineOf(stream, open);
    this.#open.clear();
  }

  #entry(bytes: Uint8Array): LogLine | undefined {
    const entry = parseEntry(bytes);
    if (entry === undefined) return undefined;
    const open = this.#open.get(entry.stream) ?? { time: entry.time, pieces: [], size: 0 };
    // Copied: the buffer that it is a part of is read into again.
    open.pieces.push(Buffer.from(entry.text));
    open.size += entry.text.byteLength;
    if (entry.partial && open.size < maxLineBytes) {
      this.#open.set(entry.stream, open);
      return undefined;
    }
    if (!entry.partial) open.pieces.push(Uint8Array.of(newline));
    this.#open.delete(entry.stream);
    return lineOf(entry.stream, open);
  }
}

function lineOf(stream: LogLine["stream"], open: Open): LogLine {
  return { stream, time: utcTime(open.time), data: Buffer.concat(open.pieces) };
}

/** Bytes into JSON objects, one a line. The other side may be a guest: lines are bounded, and may be anything. */

export type JsonObject = Readonly<Record<string, unknown>>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What `guest-sync-delimited` puts in front of its reply: a byte that UTF-8 never has. */
const delimiter = 0xff;
const newline = 0x0a;

export interface ParsedLine {
  /** Undefined for a line that is no JSON object. */
  readonly value: JsonObject | undefined;
  /** The line began after a 0xFF: everything before it is stale. */
  readonly isDelimited: boolean;
}

export class JsonLineReader {
  readonly #maxBytes: number;
  #pieces: Buffer[] = [];
  #length = 0;

  /** A line of more than `maxBytes` is a RangeError. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The lines that are complete with `bytes`, without empty ones. */
  push(bytes: Buffer): readonly ParsedLine[] {
    const lines: ParsedLine[] = [];
    let rest = bytes;
    for (let end = rest.indexOf(newline); end !== -1; end = rest.indexOf(newline)) {
      const line = parse(Buffer.concat([...this.#pieces, rest.subarray(0, end)]));
      if (line !== undefined) lines.push(line);
      this.#pieces = [];
      this.#length = 0;
      rest = rest.subarray(end + 1);
    }
    if (rest.length > 0) {
      this.#pieces.push(rest);
      this.#length += rest.length;
    }
    if (this.#length > this.#maxBytes) throw new RangeError(`a line of more than ${this.#maxBytes} bytes`);
    return lines;
  }
}

function parse(line: Buffer): ParsedLine | undefined {
  const at = line.lastIndexOf(delimiter);
  const text = line
    .subarray(at + 1)
    .toString("utf8")
    .trim();
  return text === "" ? undefined : { value: objectIn(text), isDelimited: at !== -1 };
}

function objectIn(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

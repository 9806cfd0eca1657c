import type { FileHandle } from "node:fs/promises";
import type { LogLine, LogOptions } from "../instance-service.ts";
import { LineAssembler } from "./line-assembler.ts";
import type { LogFile, LogFiles } from "./log-files.ts";
import { tailPosition } from "./tail.ts";

export type ReadOptions = Pick<LogOptions, "stdout" | "stderr" | "since" | "until" | "tail">;

const chunkBytes = 64 * 1024;

/** What is in the files now, oldest first. An unended last line comes without its newline. */
export async function* readLog(log: LogFiles, options: ReadOptions): AsyncGenerator<LogLine> {
  const assembler = new LineAssembler();
  for await (const line of readFrom(log, options, assembler)) {
    if (isAfter(line, options)) return;
    if (isWanted(line, options)) yield line;
  }
  for (const line of assembler.flush()) if (isWanted(line, options) && !isAfter(line, options)) yield line;
}

/** The lines of all files from the tail's position on; what is unended stays in `assembler`. */
export async function* readFrom(
  { files }: LogFiles,
  options: ReadOptions,
  assembler: LineAssembler,
): AsyncGenerator<LogLine> {
  const start = options.tail === undefined ? { file: 0, offset: 0 } : await tailPosition(files, options.tail, options);
  for (const [index, file] of files.entries()) {
    if (index < start.file) continue;
    const from = index === start.file ? start.offset : 0;
    for await (const bytes of readBytes(file, from, file.size)) yield* assembler.feed(bytes);
  }
}

/** The bytes of [from, to); fewer when the file ends before. */
export async function* readBytes(
  { handle }: Pick<LogFile, "handle">,
  from: number,
  to: number,
): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, Math.max(0, to - from)));
  for (let at = from; at < to; ) {
    const bytesRead = await readAt(handle, buffer, at, Math.min(buffer.byteLength, to - at));
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}

export function isWanted(line: LogLine, { stdout, stderr, since }: ReadOptions): boolean {
  const stream = line.stream === "stdout" ? stdout : stderr;
  return stream && (since === undefined || Date.parse(line.time) >= since);
}

/** Later than what was asked for: so is all that follows. */
export function isAfter(line: LogLine, { until }: ReadOptions): boolean {
  return until !== undefined && Date.parse(line.time) > until;
}

async function readAt(handle: FileHandle, buffer: Buffer, position: number, length: number): Promise<number> {
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  return bytesRead;
}

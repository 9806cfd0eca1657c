import type { Clock } from "../../base/clock.ts";
import type { LogLine } from "../instance-service.ts";
import { LineAssembler } from "./line-assembler.ts";
import { type LogFile, openLogFile, openLogFiles, rotatedPath } from "./log-files.ts";
import { isAfter, isWanted, type ReadOptions, readBytes, readFrom } from "./read-log.ts";

export interface FollowOptions extends ReadOptions {
  /** Aborted when nothing more will be written: what is there is still read to its end. */
  readonly writerEnded: AbortSignal;
  /** Aborted when the reader has gone. */
  readonly readerGone: AbortSignal;
  readonly clock: Clock;
}

const quickestPollMs = 10;
const slowestPollMs = 250;

/**
 * What is in the log, then what is added to it, across rotations. Looks at the file's size, often while it grows and
 * seldom while it rests: inotify instances are scarce, and this costs a stat for each follower only.
 */
export async function* followLog(path: string, options: FollowOptions): AsyncGenerator<LogLine> {
  const assembler = new LineAssembler();
  let current: LogFile | undefined;
  try {
    let offset = 0;
    {
      await using log = await openLogFiles(path);
      for await (const line of readFrom(log, options, assembler)) {
        if (isAfter(line, options)) return;
        if (isWanted(line, options)) yield line;
      }
      const last = log.files.at(-1);
      if (last !== undefined) {
        current = await reopen(path, last.inode);
        offset = last.size;
      }
    }
    let pollMs = quickestPollMs;
    while (!options.readerGone.aborted) {
      const ended = options.writerEnded.aborted;
      let grew = false;
      current ??= await openLogFile(path);
      if (current !== undefined) {
        for await (const bytes of readBytes(current, offset, Number.POSITIVE_INFINITY)) {
          grew = true;
          offset += bytes.byteLength;
          for (const line of assembler.feed(bytes)) {
            if (isAfter(line, options)) return;
            if (isWanted(line, options)) yield line;
          }
        }
        const next = grew ? undefined : await successor(path, current.inode);
        if (next !== undefined) {
          await current.handle.close();
          current = next;
          offset = 0;
          continue;
        }
      }
      if (!grew && ended) break;
      if (options.until !== undefined && options.clock.now() > options.until) break;
      pollMs = grew ? quickestPollMs : Math.min(slowestPollMs, pollMs * 2);
      if (!ended) await pause(options, pollMs);
    }
    for (const line of assembler.flush()) if (isWanted(line, options) && !isAfter(line, options)) yield line;
  } finally {
    await current?.handle.close();
  }
}

async function pause({ clock, writerEnded, readerGone }: FollowOptions, ms: number): Promise<void> {
  try {
    await clock.sleep(ms, AbortSignal.any([writerEnded, readerGone]));
  } catch {
    // Either signal only ends the pause.
  }
}

/** The file with this inode, wherever a rotation has moved it. */
async function reopen(path: string, inode: number): Promise<LogFile | undefined> {
  for (let index = 0; ; index++) {
    const file = await openLogFile(rotatedPath(path, index));
    if (file === undefined && index > 0) return undefined;
    if (file?.inode === inode) return file;
    await file?.handle.close();
  }
}

/** The file that follows the one with this inode in the log; undefined while that is still the one being written. */
async function successor(path: string, inode: number): Promise<LogFile | undefined> {
  let younger: LogFile | undefined;
  for (let index = 0; ; index++) {
    const file = await openLogFile(rotatedPath(path, index));
    // Not found any more: it was rotated away altogether, so the oldest one that is left follows.
    if (file === undefined && index > 0) return younger;
    if (file === undefined) continue;
    if (file.inode === inode) {
      await file.handle.close();
      return younger;
    }
    await younger?.handle.close();
    younger = file;
  }
}

import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../base/clock.ts";
import type { LogLine } from "../instance-service.ts";
import { followLog } from "./follow-log.ts";
import { parseEntry, utcTime } from "./k8s-file.ts";
import { openLogFiles } from "./log-files.ts";
import { type ReadOptions, readLog } from "./read-log.ts";
import { shiftFiles } from "./rotation.ts";
import { parseSize } from "../../base/byte-size.ts";

let dir: string;
let path: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "berth-logs-"));
  path = join(dir, "container.log");
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

const both = { stdout: true, stderr: true };

function entry(second: number, text: string, tag = "F", stream = "stdout"): string {
  const time = new Date(Date.UTC(2026, 0, 1) + second * 1000).toISOString().replace("Z", "123456+00:00");
  return `${time} ${stream} ${tag} ${text}\n`;
}

async function read(options: Partial<ReadOptions> = {}): Promise<readonly string[]> {
  await using files = await openLogFiles(path);
  const lines: string[] = [];
  for await (const line of readLog(files, { ...both, ...options })) lines.push(Buffer.from(line.data).toString());
  return lines;
}

describe("conmon's log format", () => {
  it("tells time in UTC, to the nanosecond", () => {
    expect(utcTime("2026-01-01T00:00:00.123456789+00:00")).toBe("2026-01-01T00:00:00.123456789Z");
    expect(utcTime("2026-01-01T02:30:00.5+02:00")).toBe("2026-01-01T00:30:00.500000000Z");
  });

  it("passes over torn entries", () => {
    expect(parseEntry(Buffer.from("2026-01-01T00:00:00Z stdo"))).toBeUndefined();
    expect(parseEntry(Buffer.from("2026-01-01T00:00:00Z stdout X a"))).toBeUndefined();
    expect(parseEntry(Buffer.from("2026-01-01T00:00:00Z stderr F"))?.text).toHaveLength(0);
  });
});

describe("reading", () => {
  it("joins partial entries, each stream's by itself", async () => {
    writeFileSync(path, entry(1, "ab", "P") + entry(1, "err", "F", "stderr") + entry(2, "cd") + entry(3, "end", "P"));
    expect(await read()).toEqual(["err\n", "abcd\n", "end"]);
    expect(await read({ stderr: false, tail: 2 })).toEqual(["abcd\n", "end"]);
    expect(await read({ tail: 0 })).toEqual([]);
  });

  it("keeps to since and until", async () => {
    writeFileSync(path, entry(1, "a") + entry(2, "b") + entry(3, "c"));
    expect(await read({ since: Date.UTC(2026, 0, 1) + 2000, until: Date.UTC(2026, 0, 1) + 2500 })).toEqual(["b\n"]);
  });

  it("finds nothing where nothing was logged", async () => {
    expect(await read()).toEqual([]);
    expect(await read({ tail: 5 })).toEqual([]);
  });

  it("reads the last lines of any log as a whole read would end, over rotated files too", async () => {
    const line = fc.record({ text: fc.string({ unit: "grapheme-ascii", maxLength: 200 }), err: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 400 }), fc.nat(50), fc.nat(3), async (lines, tail, cut) => {
        const entries = lines.map(({ text, err }, i) => entry(i, text, "F", err ? "stderr" : "stdout"));
        const third = Math.floor((entries.length * cut) / 3);
        writeFileSync(`${path}.1`, entries.slice(0, third).join(""));
        writeFileSync(path, entries.slice(third).join(""));
        const all = await read({ stderr: false });
        expect(all).toEqual(lines.filter(({ err }) => !err).map(({ text }) => `${text}\n`));
        expect(await read({ stderr: false, tail })).toEqual(tail === 0 ? [] : all.slice(-tail));
      }),
      { numRuns: 30 },
    );
  });
});

describe("following", () => {
  it("gives what is added, across rotations, to the writer's end", async () => {
    writeFileSync(path, entry(1, "old") + entry(2, "one"));
    const writer = new AbortController();
    const following = follow({ tail: 1 }, writer.signal);
    expect(await following.next()).toBe("one\n");
    appendFileSync(path, entry(3, "two"));
    expect(await following.next()).toBe("two\n");
    appendFileSync(path, entry(4, "three"));
    renameSync(path, `${path}.1`);
    appendFileSync(`${path}.1`, entry(5, "four"));
    writeFileSync(path, entry(6, "five"));
    expect(await following.next()).toBe("three\n");
    expect(await following.next()).toBe("four\n");
    expect(await following.next()).toBe("five\n");
    appendFileSync(path, entry(7, "unended", "P"));
    writer.abort();
    expect(await following.next()).toBe("unended");
    expect(await following.next()).toBeUndefined();
  });

  it("waits for a log that does not exist yet", async () => {
    const writer = new AbortController();
    const following = follow({}, writer.signal);
    const first = following.next();
    setTimeout(() => writeFileSync(path, entry(1, "late")), 30);
    expect(await first).toBe("late\n");
    writer.abort();
    expect(await following.next()).toBeUndefined();
  });

  function follow(options: Partial<ReadOptions>, writerEnded: AbortSignal) {
    const readerGone = new AbortController().signal;
    const lines = followLog(path, { ...both, ...options, writerEnded, readerGone, clock: systemClock });
    return {
      next: async () => {
        const next: IteratorResult<LogLine> = await lines.next();
        return next.done === true ? undefined : Buffer.from(next.value.data).toString();
      },
    };
  }
});

describe("rotation", () => {
  it("keeps as many files as asked for", async () => {
    for (const text of ["a", "b", "c", "d"]) {
      writeFileSync(path, entry(1, text));
      if (text !== "d") await shiftFiles(path, 3);
    }
    expect(await read()).toEqual(["b\n", "c\n", "d\n"]);
    await shiftFiles(path, 1);
    expect(await read()).toEqual(["b\n", "c\n"]);
  });

  it("understands Docker's sizes", () => {
    expect(["10m", "1.5k", "7", "2gb", "1x", ""].map(parseSize)).toEqual([
      10 * 2 ** 20,
      1536,
      7,
      2 * 2 ** 30,
      undefined,
      undefined,
    ]);
  });
});

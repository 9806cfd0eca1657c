import { execFile, execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { readlink } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, describe, expect, it, vi } from "vitest";
import type { ExtractRequest } from "../../../src/archive/confined-root.ts";
import { confinedRootsContract } from "../../../src/archive/confined-roots.contract.ts";
import { memberOf, rawMember, sha256, tarOf } from "../../../src/archive/fake/tar-builder.ts";
import { SourceThread } from "../../../src/archive/source-thread.ts";
import { ThreadConfinedRoots } from "../../../src/archive/thread-confined-roots.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { background } from "../../../src/base/op-context.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";

const roots = new ThreadConfinedRoots();
afterAll(() => roots[Symbol.asyncDispose]());

confinedRootsContract("ThreadConfinedRoots", () => ({ roots, cleanUp: async () => {} }));

describe("ThreadConfinedRoots", () => {
  const ctx = background();
  /** Beyond the size from which a thread of its own reads and hashes; hardly compressible. */
  const large = tarOf(
    ...Array.from({ length: 24 }, (_, index) => ({ name: `dir/file-${index}`, data: randomBytes(1_000_000) })),
    { name: "last", data: "the end" },
  );

  async function extractFile(bytes: Buffer, options: Partial<ExtractRequest> = {}, signal = ctx.signal) {
    const directory = mkdtempSync(join(tmpdir(), "berth-archive-"));
    try {
      const path = join(directory, "archive");
      mkdirSync(join(directory, "root"));
      writeFileSync(path, bytes);
      await using root = await roots.open(ctx, join(directory, "root"));
      const result = await root.extract(
        { ...ctx, signal },
        { source: { path }, compression: "auto", into: "/", semantics: "layer", ...options },
      );
      return { ...result, last: readFileSync(join(directory, "root/last"), "utf8") };
    } finally {
      rmSync(directory, { recursive: true });
    }
  }

  it.each([
    ["plain", large],
    ["gzip", gzipSync(large, { level: 1 })],
    ["zstd", zstdCompressSync(large)],
  ])("unpacks large %s archives, and says their digest and how far it is", async (_name, bytes) => {
    const seen: number[] = [];
    const result = await extractFile(bytes, { onProgress: (read) => seen.push(read) });
    expect(result).toEqual({ diffId: sha256(large), size: 24_000_007, entries: 25, last: "the end" });
    expect(seen.at(-1)).toBe(bytes.length);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  it("gives its turn back when no thread can be started for the source", async () => {
    const start = vi.spyOn(SourceThread.prototype, "start").mockImplementation(() => {
      throw new Error("no thread is left");
    });
    try {
      for (let turn = 0; turn < Math.max(6, 2 * availableParallelism()); turn++) {
        await expect(extractFile(large)).rejects.toThrow("no thread is left");
      }
    } finally {
      start.mockRestore();
    }
    expect(await extractFile(large)).toMatchObject({ last: "the end" });
  });

  it("refuses large archives as small ones: cut, damaged, hostile, too large", async () => {
    const compressed = gzipSync(large, { level: 1 });
    const damaged = Buffer.from(compressed);
    damaged.writeUInt8(damaged.readUInt8(20_000_000) ^ 1, 20_000_000);
    const cases: readonly (readonly [Buffer, Partial<ExtractRequest>, string])[] = [
      [large.subarray(0, -3000), {}, "ARCHIVE_TRUNCATED"],
      [compressed.subarray(0, -100), {}, "ARCHIVE_TRUNCATED"],
      [damaged, {}, "ARCHIVE_CORRUPT"],
      [Buffer.concat([memberOf({ name: "../evil" }), large]), {}, "ARCHIVE_ENTRY_REFUSED"],
      [large, { maxBytes: 10_000_000 }, "ARCHIVE_TOO_LARGE"],
    ];
    for (const [bytes, options, code] of cases) {
      await expect(extractFile(bytes, options), code).rejects.toMatchObject({ code });
    }
    expect((await extractFile(large)).diffId).toBe(sha256(large));
  });

  it("stops unpacking a large archive when the caller goes away", async () => {
    const directory = mkdtempSync(join(tmpdir(), "berth-archive-"));
    try {
      // A file of holes: one entry of a gigabyte.
      const path = join(directory, "archive");
      writeFileSync(path, rawMember({ name: "big", size: 2 ** 30 }));
      truncateSync(path, 2 ** 30 + 2048);
      mkdirSync(join(directory, "root"));
      await using root = await roots.open(ctx, join(directory, "root"));
      const abort = new AbortController();
      const onProgress = (read: number) => void (read > 5_000_000 && abort.abort(new Error("client gone")));
      const request: ExtractRequest = {
        source: { path },
        compression: "none",
        into: "/",
        semantics: "layer",
        onProgress,
      };
      await expect(root.extract({ ...ctx, signal: abort.signal }, request)).rejects.toThrow("client gone");
      expect(statSync(join(directory, "root/big")).size).toBeLessThan(2 ** 29);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("has so many threads at a time, however much is asked of it and given up on, and gives them back", async () => {
    await using own = new ThreadConfinedRoots();
    const directory = mkdtempSync(join(tmpdir(), "berth-archive-"));
    try {
      writeFileSync(join(directory, "file"), Buffer.alloc(8 << 20, "x"));
      const before = threads();
      const abort = new AbortController();
      const given = await Promise.all(Array.from({ length: 40 }, () => own.open(ctx, directory)));
      const streams = given.map((root) => root.pack({ ...ctx, signal: abort.signal }, packAll));
      const settled = Promise.allSettled(streams);
      // Nobody reads them: they keep their turns.
      await Promise.race(streams);
      expect(await given[0]?.readFile(ctx, "/file", 1 << 24)).toHaveLength(8 << 20);
      await expect.poll(() => threads() - before).toBeGreaterThan(4);
      // Each of Node's own threads for a worker is its only one.
      expect(threads() - before).toBeLessThanOrEqual(2 * Math.max(6, 2 * availableParallelism()));
      abort.abort(new Error("client gone"));
      await settled;
      const root = await own.open(ctx, directory);
      expect((await buffer(await root.pack(ctx, packAll))).length).toBeGreaterThan(8 << 20);
      for (const each of [...given, root]) await each[Symbol.asyncDispose]();
      await expect.poll(() => threads() - before).toBeLessThanOrEqual(2);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("ends what a root has not finished when it is closed, and keeps no directory busy", async () => {
    const directory = mkdtempSync(join(tmpdir(), "berth-archive-"));
    try {
      writeFileSync(join(directory, "file"), Buffer.alloc(32 << 20, "x"));
      const root = await roots.open(ctx, directory);
      const stream = await root.pack(ctx, packAll);
      const failed = once(stream, "error");
      await root[Symbol.asyncDispose]();
      expect((await failed)[0]).toMatchObject({ code: "ARCHIVE_WORKER_LOST" });
      await expect(root.stat(ctx, "/")).rejects.toMatchObject({ code: "ARCHIVE_WORKER_LOST" });
      for (const fd of readdirSync("/proc/self/fd")) {
        const target = await readlink(`/proc/self/fd/${fd}`).catch(() => "");
        expect(target).not.toBe(directory);
      }
      await expect(roots.open(ctx, join(directory, "missing"))).rejects.toMatchObject({ code: "CONFINEMENT_FAILED" });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it.each(["xz", "bzip2"])("unpacks %s through its program, and says when that is not there", async (program) => {
    const host = await createLinuxHost({ log: silentLogger });
    await using withPrograms = new ThreadConfinedRoots({ processes: host.processes });
    const directory = mkdtempSync(join(tmpdir(), "berth-archive-"));
    try {
      const tar = tarOf({ name: "file", data: "content" });
      const compressed = execFileSync(program, ["-c"], { input: tar });
      const request = (bytes: Buffer): ExtractRequest => ({
        source: { stream: Readable.from([bytes]) },
        compression: "auto",
        into: "/",
        semantics: "plain",
      });
      await using root = await withPrograms.open(ctx, directory);
      expect((await root.extract(ctx, request(compressed))).diffId).toBe(sha256(tar));
      expect(readFileSync(join(directory, "file"), "utf8")).toBe("content");
      await expect(root.extract(ctx, request(compressed.subarray(0, -20)))).rejects.toMatchObject({
        code: expect.stringMatching(/^ARCHIVE_(CORRUPT|TRUNCATED)$/),
      });
      await using without = await roots.open(ctx, directory);
      await expect(without.extract(ctx, request(compressed))).rejects.toMatchObject({
        code: "ARCHIVE_COMPRESSION_UNSUPPORTED",
        message: expect.stringContaining(program),
      });
    } finally {
      rmSync(directory, { recursive: true });
      await host.close();
    }
  });

  it("leaves the root of the engine's thread and of the thread pool alone, also when the worker is its first user", async () => {
    const program = fileURLToPath(new URL("./fresh-process.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [program]);
    expect(JSON.parse(stdout)).toEqual({ unpacked: "content", synchronous: true, asynchronous: true });
  });
});

const packAll = { path: "/", rename: "", semantics: "plain" } as const;

function threads(): number {
  return readdirSync("/proc/self/task").length;
}

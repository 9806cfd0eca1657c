import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterAll, beforeAll, expect, it } from "vitest";
import { isArchive } from "./archive-file.ts";

let directory: string;
let tar: Buffer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "berth-archive-"));
  const archive = pack();
  archive.entry({ name: "a" }, "x".repeat(300_000));
  archive.finalize();
  tar = await buffer(archive);
});

afterAll(() => rm(directory, { recursive: true }));

it.each<[string, () => Buffer, "yes" | "no" | "maybe"]>([
  ["a tar", () => tar, "yes"],
  ["a tar with gzip", () => gzipSync(tar), "yes"],
  ["a tar with zstd", () => zstdCompressSync(tar), "yes"],
  ["text", () => Buffer.from("text".repeat(500)), "no"],
  ["text with gzip", () => gzipSync("text".repeat(500)), "no"],
  ["gzip in name only", () => Buffer.from([0x1f, 0x8b, 0x08, 1, 2, 3]), "no"],
  ["zeros", () => Buffer.alloc(2048), "no"],
  ["nothing", () => Buffer.alloc(0), "no"],
  ["bzip2", () => Buffer.from("BZh91AY"), "maybe"],
  ["xz", () => Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]), "maybe"],
])("tells whether %s is an archive", async (_what, content, expected) => {
  const file = join(directory, "file");
  await writeFile(file, content());
  expect(await isArchive(file)).toBe(expected);
});

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BerthError } from "../base/errors.ts";
import { background } from "../base/op-context.ts";
import { InProcessRoots } from "./fake/in-process-roots.ts";
import { memberOf, sha256, tarOf } from "./fake/tar-builder.ts";
import { encodePax, encodePaxTime, parsePax, paxTime } from "./pax.ts";
import type { TarEntry } from "./tar-entry.ts";
import { TarParser } from "./tar-parser.ts";
import { encodeEntry, END_OF_ARCHIVE } from "./tar-writer.ts";

/** Bytes of a name: anything but NUL and "/", and no "." or "..". */
const component = fc
  .uint8Array({ min: 1, max: 255, minLength: 1, maxLength: 120 })
  .map((bytes) => Buffer.from(bytes).toString("latin1").replaceAll("/", "_"))
  .filter((name) => name !== "." && name !== "..");
const path = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
const time = fc.record({
  seconds: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
  nanoseconds: fc.integer({ min: 0, max: 999_999_999 }),
});
const id = fc.oneof(fc.nat(65_535), fc.integer({ min: 0, max: 0xffff_fffe }));
const xattrs = fc
  .dictionary(fc.stringMatching(/^[a-z]{1,10}$/), fc.uint8Array({ maxLength: 40 }), { maxKeys: 2 })
  .map((values) => new Map(Object.entries(values).map(([key, value]) => [`user.${key}`, Buffer.from(value)] as const)));

const common = { name: path, mode: fc.integer({ min: 0, max: 0o7777 }), uid: id, gid: id, mtime: time, xattrs };
const none = {
  linkName: fc.constant(""),
  size: fc.constant(0),
  deviceMajor: fc.constant(0),
  deviceMinor: fc.constant(0),
};
const entry: fc.Arbitrary<TarEntry> = fc.oneof(
  fc.record({ ...common, ...none, type: fc.constantFrom("file", "fifo"), size: fc.constant(0) }),
  fc.record({ ...common, ...none, type: fc.constant("file"), size: fc.nat(3000) }),
  fc.record({ ...common, ...none, type: fc.constant("directory"), name: path.map((name) => `${name}/`) }),
  fc.record({ ...common, ...none, type: fc.constantFrom("symlink", "hardlink"), linkName: path }),
  fc.record({
    ...common,
    ...none,
    type: fc.constantFrom("char", "block"),
    deviceMajor: fc.nat(4095),
    deviceMinor: fc.nat(1_048_575),
  }),
);

function parse(tar: Buffer, cut: (rest: number) => number = (rest) => rest) {
  const entries: TarEntry[] = [];
  const data: Buffer[] = [];
  const parser = new TarParser(
    {
      entry: (each) => void entries.push(each),
      data: (chunk) => void data.push(Buffer.from(chunk)),
      endEntry() {},
    },
    { maxBytes: 1 << 30, maxEntries: 1000 },
  );
  for (let at = 0; at < tar.length; ) {
    const length = Math.max(1, cut(tar.length - at));
    parser.feed(tar.subarray(at, at + length));
    at += length;
  }
  parser.end();
  return { entries, data: Buffer.concat(data) };
}

describe("tar", () => {
  it("reads back every entry that it writes, in chunks of any size", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 6 }), fc.integer({ min: 1, max: 2000 }), (entries, step) => {
        const bodies = entries.map(({ size }, index) => Buffer.alloc(size, index + 1));
        const members = entries.map((each, index) => {
          const body = bodies[index] ?? Buffer.alloc(0);
          return Buffer.concat([encodeEntry(each), body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
        });
        const parsed = parse(Buffer.concat([...members, END_OF_ARCHIVE]), () => step);
        expect(parsed.entries).toEqual(entries);
        expect(parsed.data).toEqual(Buffer.concat(bodies));
      }),
      { numRuns: 150 },
    );
  });

  it("never fails on damaged input but with an error of its own, nor hangs", () => {
    const good = tarOf(
      { name: "d/", type: "directory" },
      { name: `d/${"n".repeat(150)}`, data: "x".repeat(700), xattrs: new Map([["user.a", Buffer.from("b")]]) },
      { name: "l", type: "symlink", linkName: "d" },
    );
    const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(damage, fc.nat(good.length), (changes, length) => {
        const bad = Buffer.from(good);
        for (const [at, value] of changes) bad[at] = value;
        try {
          parse(bad.subarray(0, length));
        } catch (error) {
          if (!(error instanceof BerthError)) throw error;
          expect(error.code).toMatch(/^ARCHIVE_/);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("reads PAX records and times that it writes", () => {
    const record = fc.tuple(
      fc.stringMatching(/^[A-Za-z.]{1,100}$/),
      fc.string({ unit: "binary-ascii", maxLength: 1200 }),
    );
    fc.assert(
      fc.property(fc.array(record, { maxLength: 5 }), (records) => {
        expect(parsePax(encodePax(records), "x")).toEqual(records);
      }),
    );
    fc.assert(
      fc.property(time, (each) => {
        expect(paxTime(encodePaxTime(each), "x")).toEqual(each);
      }),
    );
  });

  it.each([
    ["1.5", { seconds: 1, nanoseconds: 500_000_000 }],
    ["-1.25", { seconds: -2, nanoseconds: 750_000_000 }],
    ["1700000000.1234567891", { seconds: 1_700_000_000, nanoseconds: 123_456_789 }],
    ["7.", { seconds: 7, nanoseconds: 0 }],
  ])("reads the time %s", (text, expected) => {
    expect(paxTime(text, "x")).toEqual(expected);
  });

  it("leaves short headers plain, so that old tars read them", () => {
    const member = memberOf({ name: `${"p".repeat(150)}/${"n".repeat(90)}`, data: "x" });
    expect(member.length).toBe(1024);
    expect(member.toString("latin1", 257, 265)).toBe("ustar\x0000");
  });
});

describe("pack and extract", () => {
  const ctx = background();
  const node = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ name: path, data: fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        name: path,
        type: fc.constant("directory" as const),
        mode: fc.constantFrom(0o755, 0o1777, 0o700),
      }),
    },
    { weight: 1, arbitrary: fc.record({ name: path, type: fc.constant("symlink" as const), linkName: component }) },
    {
      weight: 1,
      arbitrary: fc.record({
        name: path,
        type: fc.constant("char" as const),
        deviceMajor: fc.nat(255),
        deviceMinor: fc.nat(255),
      }),
    },
  );

  it("give a tree back as it was, whatever its names and contents", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(node, { maxLength: 8 }), async (nodes) => {
        const directory = mkdtempSync(join(tmpdir(), "berth-archive-"));
        try {
          const roots = new InProcessRoots();
          await using root = await roots.open(ctx, directory);
          const extract = (tar: Buffer, into: string) =>
            root.extract(ctx, {
              source: { stream: Readable.from([tar]) },
              compression: "none",
              into,
              semantics: "plain",
            });
          const pack = (path: string) => root.pack(ctx, { path, rename: "", semantics: "plain" }).then(buffer);
          for (const name of ["a", "b"]) await root.makeDirectories(ctx, name, { mode: 0o755, uid: 0, gid: 0 });
          for (const each of nodes) {
            // Some of these can't be: a file as a parent, a link that leads out. Then the tree is what came before.
            await extract(tarOf(each), "/a").catch((error: unknown) => {
              if (!(error instanceof BerthError)) throw error;
            });
          }
          const packed = await pack("/a");
          await extract(packed, "/b");
          expect(sha256(await pack("/b"))).toBe(sha256(packed));
        } finally {
          rmSync(directory, { recursive: true });
        }
      }),
      { numRuns: 60 },
    );
  });
});

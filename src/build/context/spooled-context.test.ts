import { mkdir, mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ConfinedRoot } from "../../archive/confined-root.ts";
import { InProcessRoots } from "../../archive/fake/in-process-roots.ts";
import { memberOf, tarOf, type TestEntry } from "../../archive/fake/tar-builder.ts";
import { toBinary } from "../../archive/tar-entry.ts";
import { background } from "../../base/op-context.ts";
import { SpooledContext } from "./spooled-context.ts";

const ctx = background();
const roots = new InProcessRoots();
const large = Buffer.alloc(3_000_000, "large");
const plain = tarOf(
  { name: "a/deep/file", data: "deep" },
  { name: "a", type: "directory", mode: 0o750 },
  { name: "a/empty", data: "" },
  { name: "a/large", data: large, mode: 0o4755 },
  { name: "a/link", type: "symlink", linkName: "../b.txt" },
  { name: toBinary("ü/name"), data: "unicode" },
  { name: "./b.txt", data: "b" },
);

let directory: string;
let root: ConfinedRoot;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "berth-spooled-"));
  await mkdir(join(directory, "root"));
  root = await roots.open(ctx, join(directory, "root"));
});
afterEach(async () => {
  await root[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

/** In pieces whose ends fall anywhere. */
async function spool(tar: Buffer, pieceLength = 70_001) {
  await using file = await open(join(directory, "context.tar"), "w");
  const pieces = Array.from({ length: Math.ceil(tar.length / pieceLength) }, (_, index) =>
    tar.subarray(index * pieceLength, (index + 1) * pieceLength),
  );
  return await root.spool(ctx, { stream: Readable.from(pieces), fd: file.fd });
}

async function spooled(tar: Buffer): Promise<SpooledContext> {
  const members = await spool(tar);
  if (members === undefined) throw new Error("it has no index");
  return await SpooledContext.open(
    { roots },
    { tar: join(directory, "context.tar"), unpackInto: join(directory, "unpacked"), members },
  );
}

async function unpacked(tar: Buffer): Promise<void> {
  await root.extract(ctx, {
    source: { stream: Readable.from([tar]) },
    compression: "auto",
    into: "/",
    semantics: "plain",
  });
}

describe("a context that stays a tar", () => {
  it.each([
    ["/", []],
    ["/a", []],
    ["a", ["deep", "large"]],
    ["/a/large", []],
    ["/ü", []],
  ] as const)("has the digest of its files for %s without %j", async (path, exclude) => {
    await using context = await spooled(plain);
    await unpacked(plain);
    const request = { path, exclude, owners: true };
    expect(await context.digest(ctx, request)).toBe(await root.digest(ctx, request));
    expect(await readdir(directory)).not.toContain("unpacked");
  });

  it.each([
    ["/", "", []],
    ["/a", "renamed", ["deep"]],
    ["/a/large", "one", []],
    ["/a/link", "link", []],
  ] as const)("is copied as its files are: %s as %j without %j", async (path, rename, exclude) => {
    await using context = await spooled(plain);
    for (const [name, from] of [
      ["from-tar", context],
      ["from-files", root],
    ] as const) {
      await mkdir(join(directory, name));
      if (from === root) await unpacked(plain);
      await using target = await roots.open(ctx, join(directory, name));
      const stream = await from.pack(ctx, { path, rename, exclude, semantics: "plain" });
      await target.extract(ctx, { source: { stream }, compression: "none", into: "/", semantics: "plain" });
    }
    const listed = async (name: string) => {
      await using target = await roots.open(ctx, join(directory, name));
      const files = await target.list(ctx, "/");
      return files.map(({ identity: _identity, mtimeNs: _mtime, ...file }) =>
        file.kind === "directory" ? { ...file, size: 0 } : file,
      );
    };
    expect(await listed("from-tar")).toEqual(await listed("from-files"));
  });

  it("reads, lists and leaves out; what is unpacked later lacks it as well", async () => {
    await using context = await spooled(gzipSync(plain));
    expect(Buffer.from(await context.readFile(ctx, "/a/deep/file", 100)).toString()).toBe("deep");
    await expect(context.readFile(ctx, "/a/large", 100)).rejects.toMatchObject({ code: "FILE_TOO_LARGE" });
    await expect(context.readFile(ctx, "/a/none", 100)).rejects.toMatchObject({ code: "PATH_NOT_FOUND" });
    context.remove("a/deep");
    expect((await context.list("/a")).map(({ name }) => name)).toEqual(["empty", "large", "link"]);
    await expect(context.stat(ctx, "/a/deep/file")).rejects.toMatchObject({ code: "PATH_NOT_FOUND" });
    const files = await context.directory(ctx);
    expect((await readdir(join(files, "a"))).sort()).toEqual(["empty", "large", "link"]);
    expect((await readFile(join(files, "a/large"))).equals(large)).toBe(true);
    expect(await context.directory(ctx)).toBe(files);
  });

  it.each<[string, readonly TestEntry[]]>([
    ["a hard link", [{ name: "a" }, { name: "b", type: "hardlink", linkName: "a" }]],
    [
      "a name that comes twice",
      [
        { name: "a", data: "1" },
        { name: "./a", data: "2" },
      ],
    ],
    ["a member below a symbolic link", [{ name: "a", type: "symlink", linkName: "/" }, { name: "a/b" }]],
    ["a member below a file", [{ name: "a" }, { name: "a/b" }]],
    ["a device", [{ name: "a", type: "fifo" }]],
    ["attributes", [{ name: "a", xattrs: new Map([["user.x", Buffer.from("y")]]) }]],
    ["a name that no file system takes", [{ name: "n".repeat(256) }]],
    ["a file for the top", [{ name: "." }]],
  ])("leaves to unpacking to judge: %s", async (_what, entries) => {
    const tar = tarOf(...entries);
    expect(await spool(tar, 100)).toBeUndefined();
    expect((await readFile(join(directory, "context.tar"))).equals(tar)).toBe(true);
  });

  it("refuses what unpacking refuses", async () => {
    await expect(spool(tarOf({ name: "../x" }))).rejects.toMatchObject({ code: "ARCHIVE_ENTRY_REFUSED" });
    await expect(spool(tarOf({ name: "/../x" }))).rejects.toMatchObject({ code: "ARCHIVE_ENTRY_REFUSED" });
    const cut = memberOf({ name: "a", data: large }).subarray(0, 100_000);
    await expect(spool(cut)).rejects.toMatchObject({ code: "ARCHIVE_TRUNCATED" });
  });
});

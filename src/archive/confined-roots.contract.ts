/** What every {@link ConfinedRoots} does: unpacking, packing, and above all refusing. */
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { background } from "../base/op-context.ts";
import type { ConfinedRoot, ConfinedRoots, ExtractRequest, ListedFile } from "./confined-root.ts";
import { memberOf, patchHeader, paxMember, rawMember, sha256, tarOf } from "./fake/tar-builder.ts";
import { END_OF_ARCHIVE } from "./tar-writer.ts";

export function confinedRootsContract(
  name: string,
  create: () => { readonly roots: ConfinedRoots; readonly cleanUp: () => Promise<void> },
): void {
  describe(`${name} as confined roots`, () => {
    const ctx = background();
    let directory: string;
    let outside: string;
    let roots: ReturnType<typeof create>;
    let root: ConfinedRoot;

    beforeEach(async () => {
      directory = mkdtempSync(join(tmpdir(), "berth-archive-"));
      outside = join(directory, "outside");
      mkdirSync(join(directory, "root"));
      mkdirSync(outside);
      writeFileSync(join(outside, "secret"), "untouched");
      roots = create();
      root = await roots.roots.open(ctx, join(directory, "root"));
    });
    afterEach(async () => {
      await root[Symbol.asyncDispose]();
      await roots.cleanUp();
      // Whatever an archive said: nothing outside the root was written, and what was there is as it was.
      const left = { outside: readdirSync(outside), secret: readFileSync(join(outside, "secret"), "utf8") };
      const top = readdirSync(directory);
      rmSync(directory, { recursive: true });
      expect({ ...left, top }).toEqual({ outside: ["secret"], secret: "untouched", top: ["outside", "root"] });
    });

    const extract = (tar: Buffer, options: Partial<ExtractRequest> = {}) =>
      root.extract(ctx, {
        source: { stream: Readable.from([tar]) },
        compression: "auto",
        into: "/",
        semantics: "layer",
        ...options,
      });
    const files = async () => (await root.list(ctx, "/")).map(({ path }) => path);
    const file = async (path: string): Promise<ListedFile | undefined> =>
      (await root.list(ctx, "/")).find((each) => each.path === path);
    const text = async (path: string) => Buffer.from(await root.readFile(ctx, path, 1 << 20)).toString();
    const inRoot = (path: string) => join(directory, "root", path);

    describe("measuring", () => {
      it("counts blocks as du does: directories too, names of one file once, holes not at all, links not followed", async () => {
        mkdirSync(inRoot("tree/sub"), { recursive: true });
        writeFileSync(inRoot("tree/file"), Buffer.alloc(100_000, 1));
        linkSync(inRoot("tree/file"), inRoot("tree/sub/same"));
        writeFileSync(inRoot("tree/hole"), "");
        truncateSync(inRoot("tree/hole"), 1 << 30);
        symlinkSync(outside, inRoot("tree/out"));
        symlinkSync("/tree", inRoot("way"));
        const du = execFileSync("du", ["-s", "--block-size=1", inRoot("tree")]).toString();
        expect(await root.diskUsage(ctx, ["tree", "/tree/sub", "way", "missing"])).toEqual([
          Number(du.split("\t")[0]),
          expect.any(Number),
          0,
          0,
        ]);
      });
    });

    describe("unpacking", () => {
      const simple = tarOf(
        { name: "./", type: "directory", mode: 0o711 },
        { name: "etc/", type: "directory", mode: 0o755, uid: 3, gid: 4, mtime: { seconds: 1000, nanoseconds: 0 } },
        { name: "etc/hosts", data: "127.0.0.1 localhost\n", mode: 0o640, uid: 5, gid: 6 },
        { name: "etc/link", type: "symlink", linkName: "/etc/hosts" },
        { name: "etc/same", type: "hardlink", linkName: "etc/hosts" },
        { name: "dev/null", type: "char", mode: 0o666, deviceMajor: 1, deviceMinor: 3 },
        { name: "dev/sda", type: "block", mode: 0o660, gid: 6, deviceMajor: 8, deviceMinor: 0 },
        { name: "run/pipe", type: "fifo", mode: 0o600 },
        { name: "bin/su", data: "x", mode: 0o4755 },
      );

      it("makes every kind of file, with mode, owner, links and device numbers", async () => {
        const result = await extract(simple);
        expect(result).toEqual({ diffId: sha256(simple), size: 31, entries: 9 });
        expect(await text("/etc/hosts")).toBe("127.0.0.1 localhost\n");
        expect(await file("etc")).toMatchObject({ kind: "directory", mode: 0o755, uid: 3, gid: 4 });
        expect((await file("etc"))?.mtimeNs).toBe(1000n * 10n ** 9n);
        expect(await file("etc/hosts")).toMatchObject({ kind: "file", mode: 0o640, uid: 5, gid: 6, size: 20 });
        expect((await file("etc/same"))?.identity).toBe((await file("etc/hosts"))?.identity);
        expect(await root.stat(ctx, "/etc/link")).toMatchObject({ kind: "symlink", linkTarget: "/etc/hosts" });
        expect(await file("dev/null")).toMatchObject({ kind: "char", mode: 0o666, deviceMajor: 1, deviceMinor: 3 });
        expect(await file("dev/sda")).toMatchObject({ kind: "block", gid: 6, deviceMajor: 8, deviceMinor: 0 });
        expect(await file("run/pipe")).toMatchObject({ kind: "fifo", mode: 0o600 });
        expect(await file("bin/su")).toMatchObject({ mode: 0o4755 });
        expect(await root.stat(ctx, "/")).toMatchObject({ mode: 0o711, kind: "directory" });
      });

      it.each([
        ["gzip", gzipSync(simple)],
        ["zstd", zstdCompressSync(simple)],
        ["two gzip members", Buffer.concat([gzipSync(simple.subarray(0, 700)), gzipSync(simple.subarray(700))])],
      ])("takes %s, and says the digest of the plain tar", async (_name, compressed) => {
        expect((await extract(compressed)).diffId).toBe(sha256(simple));
        expect(await text("/etc/hosts")).toContain("localhost");
      });

      it.each([
        ["in the padding", 513],
        ["in the midst of the padding", 700],
        ["without an end mark", 1024],
      ])("takes an archive that ends %s, as Go's reader does", async (_name, end) => {
        await extract(memberOf({ name: "f", data: "x" }).subarray(0, end));
        expect(await text("/f")).toBe("x");
      });

      it("takes a file, reports progress, and chunks of any size", async () => {
        const path = inRoot("../layer.tar");
        writeFileSync(path, simple);
        const seen: number[] = [];
        await root.extract(ctx, {
          source: { path },
          compression: "auto",
          into: "/",
          semantics: "layer",
          onProgress: (bytes) => seen.push(bytes),
        });
        rmSync(path);
        expect(seen.at(-1)).toBe(simple.length);
        const pieces = Array.from({ length: Math.ceil(simple.length / 7) }, (_, i) =>
          simple.subarray(i * 7, i * 7 + 7),
        );
        expect((await extract(simple, { source: { stream: Readable.from(pieces) } })).diffId).toBe(sha256(simple));
      });

      it("gives everything the owner and mode that is asked for", async () => {
        await extract(simple, { semantics: "plain", chown: { uid: 7, gid: 8 }, chmod: 0o600 });
        expect(await file("etc/hosts")).toMatchObject({ uid: 7, gid: 8, mode: 0o600 });
        expect(await file("etc")).toMatchObject({ uid: 7, gid: 8, mode: 0o600 });
      });

      it("takes names that are long, not UTF-8, or odd", async () => {
        const long = `${"d".repeat(200)}/${"f".repeat(255)}`;
        await extract(
          tarOf(
            { name: long, data: "1" },
            { name: "a\nb", data: "2" },
            { name: "\xff\xfe", data: "3" },
            { name: "ä".normalize("NFD"), data: "4" },
          ),
        );
        expect(readdirSync(join(directory, "root", "d".repeat(200)))).toEqual(["f".repeat(255)]);
        expect(readdirSync(inRoot("."), "buffer").some((each) => each.equals(Buffer.from([0xff, 0xfe])))).toBe(true);
        expect(await text("/a\nb")).toBe("2");
      });

      it("takes GNU long names and links", async () => {
        const name = "n".repeat(150);
        const long = (flag: string, value: string) =>
          patchHeader(
            rawMember({ flag, name: "././@LongLink" }, Buffer.from(`${value}\0`)),
            257,
            Buffer.from("ustar  \0"),
          );
        await extract(
          Buffer.concat([
            long("L", name),
            rawMember({ name: name.slice(0, 100) }, Buffer.from("hi")),
            long("K", name),
            rawMember({ name: "link", flag: "2", linkName: name.slice(0, 100) }),
            END_OF_ARCHIVE,
          ]),
        );
        expect(await text(`/${name}`)).toBe("hi");
        expect((await root.stat(ctx, "/link")).linkTarget).toBe(name);
      });

      it("takes PAX names, owners, times and base-256 numbers", async () => {
        await extract(
          Buffer.concat([
            paxMember([
              ["path", "päx".normalize()].map((s) => Buffer.from(s).toString("latin1")) as [string, string],
              ["uid", "3000000"],
              ["gid", "4000000000"],
              ["hdrcharset", "BINARY"],
            ]),
            rawMember({ name: "short" }, Buffer.from("pax")),
            patchHeader(rawMember({ name: "base256" }), 108, Buffer.from([0x80, 0, 0, 0, 0x12, 0x34, 0x56, 0x78])),
            END_OF_ARCHIVE,
          ]),
        );
        expect(await file("päx")).toMatchObject({ uid: 3_000_000, gid: 4_000_000_000, size: 3 });
        expect(await file("base256")).toMatchObject({ uid: 0x12345678 });
      });

      it("places the data of sparse files: GNU's old maps, PAX 0.0, 0.1 and 1.0", async () => {
        const data = Buffer.from("AAAABBBB");
        const octal = (value: number) => Buffer.from(`${value.toString(8).padStart(11, "0")}\0`);
        const gnu = patchHeader(
          patchHeader(rawMember({ flag: "S", name: "gnu" }, data), 257, Buffer.from("ustar  \0")),
          386,
          Buffer.concat([octal(2), octal(4), octal(100), octal(4), Buffer.alloc(48), Buffer.from([0]), octal(200)]),
        );
        const map = Buffer.from("2\n2\n4\n100\n4\n");
        const body = Buffer.concat([map, Buffer.alloc(512 - map.length), data]);
        await extract(
          Buffer.concat([
            gnu,
            paxMember([
              ["GNU.sparse.size", "200"],
              ["GNU.sparse.numblocks", "2"],
              ["GNU.sparse.offset", "2"],
              ["GNU.sparse.numbytes", "4"],
              ["GNU.sparse.offset", "100"],
              ["GNU.sparse.numbytes", "4"],
            ]),
            rawMember({ name: "pax00" }, data),
            paxMember([
              ["GNU.sparse.size", "200"],
              ["GNU.sparse.name", "pax01"],
              ["GNU.sparse.map", "2,4,100,4"],
            ]),
            rawMember({ name: "GNUSparseFile.0/pax01" }, data),
            paxMember([
              ["GNU.sparse.major", "1"],
              ["GNU.sparse.minor", "0"],
              ["GNU.sparse.name", "pax10"],
              ["GNU.sparse.realsize", "200"],
            ]),
            rawMember({ name: "GNUSparseFile.0/pax10" }, body),
            rawMember({ name: "after" }, Buffer.from("end")),
            END_OF_ARCHIVE,
          ]),
        );
        const expected = Buffer.alloc(200);
        expected.write("AAAA", 2);
        expected.write("BBBB", 100);
        for (const name of ["gnu", "pax00", "pax01", "pax10"]) {
          expect(Buffer.from(await root.readFile(ctx, name, 1000)), name).toEqual(expected);
        }
        expect(await text("after")).toBe("end");
      });

      it("turns whiteouts into overlay's, whatever the order of entries", async () => {
        await extract(
          tarOf(
            { name: "gone/.wh.file", data: "" },
            { name: ".wh..wh.plnk", data: "" },
            { name: "opaque/", type: "directory" },
            { name: "opaque/.wh..wh..opq", data: "" },
            { name: "opaque/kept", data: "1" },
            { name: ".wh.first", data: "" },
            { name: "first/", type: "directory" },
            { name: "last/", type: "directory" },
            { name: ".wh.last", data: "" },
            { name: "kept", data: "2" },
            { name: ".wh.kept", data: "" },
          ),
        );
        expect(await files()).toEqual(["first", "gone", "gone/file", "kept", "last", "opaque", "opaque/kept"]);
        expect(await file("gone/file")).toMatchObject({ kind: "char", deviceMajor: 0, deviceMinor: 0 });
        for (const path of ["opaque", "first", "last"]) expect(await file(path), path).toMatchObject({ opaque: true });
        expect(await file("kept")).toMatchObject({ kind: "file", size: 1 });
      });

      it("takes whiteout names as they are in plain archives", async () => {
        await extract(tarOf({ name: ".wh.file", data: "x" }), { semantics: "plain" });
        expect(await files()).toEqual([".wh.file"]);
      });

      it("replaces what is there without writing through links", async () => {
        symlinkSync(join(outside, "secret"), inRoot("link"));
        mkdirSync(inRoot("dir/sub"), { recursive: true });
        writeFileSync(inRoot("a"), "old");
        await extract(tarOf({ name: "b", type: "hardlink", linkName: "a" }), { semantics: "plain" });
        await extract(
          tarOf({ name: "link", data: "new" }, { name: "dir", data: "was a directory" }, { name: "a", data: "new" }),
          { semantics: "plain" },
        );
        expect(await text("link")).toBe("new");
        expect(await text("dir")).toBe("was a directory");
        expect([await text("a"), await text("b")]).toEqual(["new", "old"]);
      });

      it("keeps directories and files apart when asked", async () => {
        mkdirSync(inRoot("dir"));
        writeFileSync(inRoot("file"), "old");
        const options: Partial<ExtractRequest> = { semantics: "plain", noOverwriteDirNonDir: true };
        await expect(extract(tarOf({ name: "dir", data: "x" }), options)).rejects.toMatchObject({
          code: "ARCHIVE_ENTRY_REFUSED",
          message: expect.stringContaining("cannot overwrite directory"),
        });
        await expect(extract(tarOf({ name: "file/", type: "directory" }), options)).rejects.toMatchObject({
          code: "ARCHIVE_ENTRY_REFUSED",
          message: expect.stringContaining("cannot overwrite non-directory"),
        });
      });

      it("leaves mount points to another extraction, which takes only what is below them", async () => {
        mkdirSync(inRoot("top/mnt"), { recursive: true });
        mkdirSync(inRoot("elsewhere"));
        const tar = () =>
          tarOf(
            { name: "a", data: "1" },
            { name: "mnt/", type: "directory" },
            { name: "mnt/deep/b", data: "2" },
            { name: "mnt/deep/c", type: "hardlink", linkName: "mnt/deep/b" },
          );
        const covered = [{ path: "/top/mnt", takesMembers: true }];
        await extract(tar(), { semantics: "plain", into: "/top", covered });
        expect([await text("top/a"), readdirSync(inRoot("top/mnt"))]).toEqual(["1", []]);
        await extract(tar(), { semantics: "plain", into: "/elsewhere", only: "mnt" });
        expect(readdirSync(inRoot("elsewhere"))).toEqual(["deep"]);
        expect([await text("elsewhere/deep/b"), await text("elsewhere/deep/c")]).toEqual(["2", "2"]);
      });

      it("neither replaces nor enters a mount point that takes nothing, nor reaches one through a link", async () => {
        mkdirSync(inRoot("dir/mnt"), { recursive: true });
        symlinkSync("dir/mnt", inRoot("link"));
        const at = (takesMembers: boolean) =>
          ({ semantics: "plain", covered: [{ path: "/dir/mnt", takesMembers }] }) as const;
        const refused = { code: "ARCHIVE_ENTRY_REFUSED" };
        await expect(extract(tarOf({ name: "dir/mnt", data: "x" }), at(true))).rejects.toMatchObject(refused);
        await expect(extract(tarOf({ name: "dir", data: "x" }), at(true))).rejects.toMatchObject(refused);
        await expect(extract(tarOf({ name: "dir/mnt/x", data: "x" }), at(false))).rejects.toMatchObject(refused);
        await expect(extract(tarOf({ name: "link/x", data: "x" }), at(true))).rejects.toMatchObject(refused);
        expect(readdirSync(inRoot("dir/mnt"))).toEqual([]);
      });

      it("follows links of the tree inside it: a relative, an absolute and one that climbs", async () => {
        mkdirSync(inRoot("real/deep"), { recursive: true });
        symlinkSync("real", inRoot("relative"));
        symlinkSync("/real", inRoot("absolute"));
        symlinkSync("../../../../real", inRoot("climbs"));
        await extract(
          tarOf({ name: "relative/a", data: "1" }, { name: "absolute/b", data: "2" }, { name: "climbs/c", data: "3" }),
          { semantics: "plain" },
        );
        expect(readdirSync(inRoot("real"))).toEqual(["a", "b", "c", "deep"]);
      });

      it("takes absolute names from the directory that it unpacks to", async () => {
        mkdirSync(inRoot("in/here"), { recursive: true });
        await extract(
          tarOf(
            { name: "/run/secrets/token", data: "t" },
            { name: "link", type: "hardlink", linkName: "/run/secrets/token" },
          ),
          { into: "/in/here" },
        );
        expect(await text("/in/here/run/secrets/token")).toBe("t");
        expect(await text("/in/here/link")).toBe("t");
      });

      it("follows a link of the archive itself that stays inside", async () => {
        await extract(
          tarOf(
            { name: "usr/lib/", type: "directory" },
            { name: "lib", type: "symlink", linkName: "usr/lib" },
            { name: "lib/libc.so", data: "elf" },
          ),
        );
        expect(await text("/usr/lib/libc.so")).toBe("elf");
      });
    });

    describe("refusing", () => {
      const lies = (size: string) => patchHeader(rawMember({ name: "liar" }), 124, Buffer.from(size));
      const cases: readonly (readonly [string, Buffer, string, string])[] = [
        ["..", tarOf({ name: "../outside/evil", data: "x" }), "ARCHIVE_ENTRY_REFUSED", "../outside/evil"],
        [
          ".. in the middle",
          tarOf({ name: "a/../../outside/evil", data: "x" }),
          "ARCHIVE_ENTRY_REFUSED",
          "a/../../outside/evil",
        ],
        [
          "a file through an absolute link of its own",
          tarOf({ name: "x", type: "symlink", linkName: "/tmp" }, { name: "x/evil", data: "x" }),
          "ARCHIVE_ENTRY_REFUSED",
          "x/evil",
        ],
        [
          "a file through a climbing link of its own",
          tarOf({ name: "d/x", type: "symlink", linkName: "../../outside" }, { name: "d/x/evil", data: "x" }),
          "ARCHIVE_ENTRY_REFUSED",
          "d/x/evil",
        ],
        [
          "a directory that was replaced by a link",
          tarOf(
            { name: "d/", type: "directory" },
            { name: "d/ok", data: "1" },
            { name: "d", type: "symlink", linkName: "../outside" },
            { name: "d/secret", data: "x" },
          ),
          "ARCHIVE_ENTRY_REFUSED",
          "d/secret",
        ],
        [
          "links that lead to each other",
          tarOf(
            { name: "a", type: "symlink", linkName: "b" },
            { name: "b", type: "symlink", linkName: "a" },
            { name: "a/x", data: "x" },
          ),
          "ARCHIVE_ENTRY_REFUSED",
          "a/x",
        ],
        [
          "a hard link to an absolute name that is no member",
          tarOf({ name: "h", type: "hardlink", linkName: "/etc/shadow" }),
          "ARCHIVE_ENTRY_REFUSED",
          "h",
        ],
        [
          "an absolute name that climbs",
          tarOf({ name: "/../outside/evil", data: "x" }),
          "ARCHIVE_ENTRY_REFUSED",
          "/../outside/evil",
        ],
        [
          "a hard link with ..",
          tarOf({ name: "h", type: "hardlink", linkName: "../outside/secret" }),
          "ARCHIVE_ENTRY_REFUSED",
          "h",
        ],
        [
          "a hard link to nothing",
          tarOf({ name: "h", type: "hardlink", linkName: "nothing" }),
          "ARCHIVE_ENTRY_REFUSED",
          "h",
        ],
        [
          "a hard link to a directory",
          tarOf({ name: "d/", type: "directory" }, { name: "h", type: "hardlink", linkName: "d" }),
          "ARCHIVE_ENTRY_REFUSED",
          "h",
        ],
        [
          "a hard link through a link of its own",
          tarOf(
            { name: "x", type: "symlink", linkName: "../outside" },
            { name: "h", type: "hardlink", linkName: "x/secret" },
          ),
          "ARCHIVE_ENTRY_REFUSED",
          "h",
        ],
        [
          "a file as the parent",
          tarOf({ name: "f", data: "1" }, { name: "f/x", data: "2" }),
          "ARCHIVE_ENTRY_REFUSED",
          "f/x",
        ],
        ["a whiteout of ..", tarOf({ name: ".wh...", data: "" }), "ARCHIVE_ENTRY_REFUSED", ".wh..."],
        ["a whiteout of .", tarOf({ name: "d/.wh..", data: "" }), "ARCHIVE_ENTRY_REFUSED", "d/.wh.."],
        ["a whiteout of nothing", tarOf({ name: ".wh.", data: "" }), "ARCHIVE_ENTRY_REFUSED", ".wh."],
        ["the top as a file", tarOf({ name: "./", type: "symlink", linkName: "/" }), "ARCHIVE_ENTRY_REFUSED", "./"],
        [
          "an unknown type",
          Buffer.concat([rawMember({ flag: "Q", name: "odd" }), END_OF_ARCHIVE]),
          "ARCHIVE_ENTRY_REFUSED",
          "odd",
        ],
        [
          "a component that is too long",
          tarOf({ name: "n".repeat(300), data: "" }),
          "ARCHIVE_ENTRY_REFUSED",
          "n".repeat(300),
        ],
        [
          "a path that is too long",
          tarOf({ name: "d/".repeat(3000), type: "directory" }),
          "ARCHIVE_ENTRY_REFUSED",
          "d/d/",
        ],
        [
          "a name with a NUL",
          Buffer.concat([paxMember([["path", "a\0b"]]), rawMember({}), END_OF_ARCHIVE]),
          "ARCHIVE_ENTRY_REFUSED",
          "a",
        ],
        [
          "a negative size",
          Buffer.concat([patchHeader(rawMember({ name: "liar" }), 124, Buffer.alloc(12, 0xff)), END_OF_ARCHIVE]),
          "ARCHIVE_CORRUPT",
          "liar",
        ],
        [
          "an absurd size",
          Buffer.concat([
            patchHeader(rawMember({ name: "liar" }), 124, Buffer.from([0x80, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0])),
            END_OF_ARCHIVE,
          ]),
          "ARCHIVE_CORRUPT",
          "liar",
        ],
        [
          "an absurd PAX size",
          Buffer.concat([paxMember([["size", "99999999999999999"]]), rawMember({ name: "liar" }), END_OF_ARCHIVE]),
          "ARCHIVE_CORRUPT",
          "liar",
        ],
        ["a size that is no number", Buffer.concat([lies("0000zzz0000\0"), END_OF_ARCHIVE]), "ARCHIVE_CORRUPT", "liar"],
        ["a size beyond the end", Buffer.concat([lies("00000077777\0"), END_OF_ARCHIVE]), "ARCHIVE_TRUNCATED", "liar"],
        ["an end in the header", tarOf({ name: "f", data: "1234" }).subarray(0, 300), "ARCHIVE_TRUNCATED", "a header"],
        [
          "an end in the data",
          memberOf({ name: "f", data: "x".repeat(2000) }).subarray(0, 1500),
          "ARCHIVE_TRUNCATED",
          '"f"',
        ],
        [
          "an end in a PAX header",
          paxMember([["path", "p".repeat(600)]]).subarray(0, 800),
          "ARCHIVE_TRUNCATED",
          "an extended header",
        ],
        ["an end after a PAX header", paxMember([["path", "p"]]), "ARCHIVE_TRUNCATED", "an extended header"],
        [
          "a malformed PAX header",
          Buffer.concat([rawMember({ flag: "x", name: "pax" }, Buffer.from("99 path=x\n")), rawMember({})]),
          "ARCHIVE_CORRUPT",
          "pax",
        ],
        [
          "a PAX header that is too large",
          Buffer.concat([rawMember({ flag: "x", name: "pax" }, Buffer.alloc((1 << 20) + 1))]),
          "ARCHIVE_TOO_LARGE",
          "pax",
        ],
        ["a wrong checksum", Buffer.concat([Buffer.alloc(512, 0x41), END_OF_ARCHIVE]), "ARCHIVE_CORRUPT", "checksum"],
        [
          "data after the end",
          Buffer.concat([tarOf({ name: "f" }), memberOf({ name: "hidden" })]),
          "ARCHIVE_CORRUPT",
          "data follows its end",
        ],
        [
          "a lone zero block",
          Buffer.concat([memberOf({ name: "f" }), Buffer.alloc(512), memberOf({ name: "g" })]),
          "ARCHIVE_CORRUPT",
          "zero block",
        ],
        [
          "a sparse map out of order",
          Buffer.concat([
            paxMember([
              ["GNU.sparse.size", "200"],
              ["GNU.sparse.map", "100,4,2,4"],
            ]),
            rawMember({ name: "s" }, Buffer.alloc(8)),
            END_OF_ARCHIVE,
          ]),
          "ARCHIVE_CORRUPT",
          '"s"',
        ],
        [
          "a sparse map beyond the size",
          Buffer.concat([
            paxMember([
              ["GNU.sparse.size", "50"],
              ["GNU.sparse.map", "100,8"],
            ]),
            rawMember({ name: "s" }, Buffer.alloc(8)),
            END_OF_ARCHIVE,
          ]),
          "ARCHIVE_CORRUPT",
          '"s"',
        ],
        [
          "a sparse map that fits no data",
          Buffer.concat([
            paxMember([
              ["GNU.sparse.size", "200"],
              ["GNU.sparse.map", "100,80"],
            ]),
            rawMember({ name: "s" }, Buffer.alloc(8)),
            END_OF_ARCHIVE,
          ]),
          "ARCHIVE_CORRUPT",
          '"s"',
        ],
        [
          "a cut gzip stream",
          gzipSync(
            tarOf({ name: "f", data: Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919) % 251)) }),
          ).subarray(0, -20),
          "ARCHIVE_TRUNCATED",
          "compressed",
        ],
        [
          "a damaged gzip stream",
          Buffer.concat([gzipSync(Buffer.alloc(100)).subarray(0, 10), Buffer.from("garbage garbage")]),
          "ARCHIVE_CORRUPT",
          "gzip",
        ],
        ["something else", Buffer.from("#!/bin/sh\necho hello\n".repeat(100)), "ARCHIVE_CORRUPT", "checksum"],
      ];

      it.each(cases)("%s", async (_name, tar, code, named) => {
        await expect(extract(tar)).rejects.toMatchObject({ code, message: expect.stringContaining(named) });
      });

      it("a bomb: more bytes than allowed, declared or not, compressed or not", async () => {
        const bomb = tarOf({ name: "small" }, { name: "bomb", data: Buffer.alloc(1 << 20) });
        const expected = { code: "ARCHIVE_TOO_LARGE", message: expect.stringContaining("bomb") };
        await expect(extract(bomb, { maxBytes: 100_000 })).rejects.toMatchObject(expected);
        await expect(extract(gzipSync(bomb), { maxBytes: 100_000 })).rejects.toMatchObject(expected);
        await expect(extract(zstdCompressSync(bomb), { maxBytes: 100_000 })).rejects.toMatchObject(expected);
        const many = tarOf(...Array.from({ length: 500 }, (_, i) => ({ name: `f${i}` })));
        await expect(extract(many, { maxBytes: 100_000 })).rejects.toMatchObject({ code: "ARCHIVE_TOO_LARGE" });
      });

      it("a bomb of holes", async () => {
        const holes = Buffer.concat([
          paxMember([
            ["GNU.sparse.size", "1000000000000000"],
            ["GNU.sparse.map", "0,8"],
          ]),
          rawMember({ name: "holes" }, Buffer.alloc(8)),
          END_OF_ARCHIVE,
        ]);
        await expect(extract(holes, { maxBytes: 100_000 })).rejects.toMatchObject({
          code: "ARCHIVE_TOO_LARGE",
          message: expect.stringContaining("holes"),
        });
      });

      it("a source that breaks, with the source's own error", async () => {
        const broken = Readable.from(
          (async function* () {
            yield tarOf({ name: "f", data: "x".repeat(5000) }).subarray(0, 3000);
            throw new Error("connection reset");
          })(),
        );
        await expect(extract(Buffer.alloc(0), { source: { stream: broken } })).rejects.toThrow("connection reset");
      });

      it("to go on when the caller went away", async () => {
        const abort = new AbortController();
        const endless = Readable.from(
          (async function* () {
            yield rawMember({ name: "endless", size: 8 ** 11 - 1 });
            for (;;) {
              yield Buffer.alloc(65536);
              abort.abort(new Error("client gone"));
            }
          })(),
        );
        const request: ExtractRequest = {
          source: { stream: endless },
          compression: "none",
          into: "/",
          semantics: "layer",
        };
        await expect(root.extract({ ...ctx, signal: abort.signal }, request)).rejects.toThrow("client gone");
      });
    });

    describe("reading and changing", () => {
      beforeEach(() => {
        mkdirSync(inRoot("a/b"), { recursive: true });
        writeFileSync(inRoot("a/b/file"), "content");
        chmodSync(inRoot("a/b/file"), 0o640);
        symlinkSync("/a/b", inRoot("absolute"));
        symlinkSync("../../../../outside/secret", inRoot("escape"));
        symlinkSync(join(directory, "outside"), inRoot("host"));
      });

      it("says what a file is, with and without following", async () => {
        expect(await root.stat(ctx, "a/b/file")).toMatchObject({ name: "file", kind: "file", mode: 0o640, size: 7 });
        expect(await root.stat(ctx, "/absolute")).toMatchObject({
          name: "absolute",
          kind: "symlink",
          linkTarget: "/a/b",
        });
        expect(await root.stat(ctx, "/absolute", { follow: true })).toMatchObject({ name: "b", kind: "directory" });
        expect(await root.stat(ctx, "/absolute/file")).toMatchObject({ name: "file" });
        expect(await root.stat(ctx, "/")).toMatchObject({ name: "/", kind: "directory" });
        await expect(root.stat(ctx, "/nothing")).rejects.toMatchObject({ code: "PATH_NOT_FOUND" });
      });

      it("does not see the host through links or ..", async () => {
        for (const path of ["escape", "host/secret", "../outside/secret", "a/../../outside/secret"]) {
          await expect(root.readFile(ctx, path, 100), path).rejects.toMatchObject({ code: "PATH_NOT_FOUND" });
        }
      });

      it("reads at most what is allowed, and regular files only", async () => {
        expect(await text("/a/b/file")).toBe("content");
        await expect(root.readFile(ctx, "/a/b/file", 3)).rejects.toMatchObject({ code: "FILE_TOO_LARGE" });
        await expect(root.readFile(ctx, "/a/b", 100)).rejects.toMatchObject({ code: "PATH_NOT_FILE" });
        await expect(root.readFile(ctx, "/nothing", 100)).rejects.toMatchObject({ code: "PATH_NOT_FOUND" });
      });

      it("makes directories with an owner, through links, inside", async () => {
        await root.makeDirectories(ctx, "/absolute/new/er", { mode: 0o1777, uid: 5, gid: 6 });
        expect(await file("a/b/new/er")).toMatchObject({ kind: "directory", mode: 0o1777, uid: 5, gid: 6 });
        await expect(root.makeDirectories(ctx, "/a/b/file/x", { mode: 0o755, uid: 0, gid: 0 })).rejects.toMatchObject({
          code: "PATH_NOT_DIRECTORY",
        });
      });

      it("digests what a copy of a tree would hold: no times, owners only when asked, links not followed", async () => {
        const digest = (path = "/a", exclude: readonly string[] = [], owners = false) =>
          root.digest(ctx, { path, exclude, owners });
        const before = await digest();
        expect(before).toMatch(/^[0-9a-f]{64}$/);
        const withOwners = await digest("/a", [], true);
        utimesSync(inRoot("a/b/file"), 1, 1);
        expect(await digest()).toBe(before);
        chownSync(inRoot("a/b/file"), process.getuid?.() ?? 0, process.getgid?.() ?? 0);
        expect(await digest("/a", [], true)).toBe(withOwners);
        const changes: readonly (readonly [() => void, () => void])[] = [
          [() => writeFileSync(inRoot("a/b/file"), "CONTENT"), () => writeFileSync(inRoot("a/b/file"), "content")],
          [() => chmodSync(inRoot("a/b/file"), 0o600), () => chmodSync(inRoot("a/b/file"), 0o640)],
          [
            () => renameSync(inRoot("a/b/file"), inRoot("a/b/f")),
            () => renameSync(inRoot("a/b/f"), inRoot("a/b/file")),
          ],
          [() => symlinkSync("file", inRoot("a/b/s")), () => rmSync(inRoot("a/b/s"))],
          [() => linkSync(inRoot("a/b/file"), inRoot("a/b/z")), () => rmSync(inRoot("a/b/z"))],
          [() => mkdirSync(inRoot("a/empty")), () => rmdirSync(inRoot("a/empty"))],
        ];
        const seen = new Set([before]);
        for (const [change, undo] of changes) {
          change();
          seen.add(await digest());
          undo();
          expect(await digest()).toBe(before);
        }
        expect(seen.size).toBe(changes.length + 1);
        mkdirSync(inRoot("a/b/c"));
        writeFileSync(inRoot("a/b/c/more"), "more");
        expect(await digest("/a", ["b/c"])).toBe(before);
        expect(await digest("/absolute", ["c"])).not.toBe(await digest("/a/b", ["c"]));
      });

      it("digests a file without its name, however large", async () => {
        writeFileSync(inRoot("one"), Buffer.alloc(700_001, "x"), { mode: 0o644 });
        writeFileSync(inRoot("two"), Buffer.alloc(700_001, "x"), { mode: 0o644 });
        const one = await root.digest(ctx, { path: "/one", owners: false });
        expect(await root.digest(ctx, { path: "/two", owners: false })).toBe(one);
        writeFileSync(inRoot("two"), Buffer.alloc(700_000, "x"));
        expect(await root.digest(ctx, { path: "/two", owners: false })).not.toBe(one);
        await expect(root.digest(ctx, { path: "/nothing", owners: false })).rejects.toMatchObject({
          code: "PATH_NOT_FOUND",
        });
      });

      it("removes trees and links, never what a link leads to, and never the root", async () => {
        await root.remove(ctx, "/absolute");
        expect(await text("/a/b/file")).toBe("content");
        await root.remove(ctx, "/a");
        await root.remove(ctx, "/nothing/at/all");
        expect(await files()).toEqual(["escape", "host"]);
        await expect(root.remove(ctx, "/")).rejects.toMatchObject({ code: "PATH_OPERATION_FAILED" });
      });
    });

    describe("packing", () => {
      const tree = tarOf(
        { name: "d/", type: "directory", mode: 0o1777 },
        { name: "d/.wh.gone", data: "" },
        { name: "d/big", data: Buffer.alloc(3_000_000, "x") },
        { name: "d/file", data: "hello", mode: 0o600, uid: 12, gid: 13 },
        { name: "d/hard", type: "hardlink", linkName: "d/file" },
        { name: "d/link", type: "symlink", linkName: "../../somewhere" },
        { name: "d/null", type: "char", deviceMajor: 1, deviceMinor: 3, mode: 0o666 },
        { name: `d/${"l".repeat(200)}`, data: "long" },
        { name: "o/", type: "directory" },
        { name: "o/.wh..wh..opq", data: "", mode: 0o600 },
      );

      it("gives a layer back as it was", async () => {
        await extract(tree);
        const packed = await buffer(await root.pack(ctx, { path: "/", rename: "", semantics: "layer" }));
        await root.remove(ctx, "/d");
        await root.remove(ctx, "/o");
        const before = await extract(tree).then(() => root.list(ctx, "/"));
        await root.remove(ctx, "/d");
        await root.remove(ctx, "/o");
        await extract(packed);
        const shape = (list: readonly ListedFile[]) =>
          list.map(({ identity: _inode, mtimeNs, kind, deviceMajor, ...rest }) => ({
            ...rest,
            kind,
            // A whiteout's own time is that of its making.
            mtimeNs: kind === "char" && deviceMajor === 0 ? 0n : mtimeNs,
          }));
        expect(shape(await root.list(ctx, "/"))).toEqual(shape(before));
        expect((await file("d/hard"))?.identity).toBe((await file("d/file"))?.identity);
        // Deterministic: packing the same tree again gives the same bytes.
        const again = () => root.pack(ctx, { path: "/", rename: "", semantics: "layer" }).then(buffer);
        expect(sha256(await again())).toBe(sha256(await again()));
      });

      it("packs a file or a directory under its own or another name, without what is excluded", async () => {
        await extract(tree);
        const names = async (request: Parameters<ConfinedRoot["pack"]>[1]) => {
          const packed = await buffer(await root.pack(ctx, request));
          mkdirSync(inRoot("check"));
          await extract(packed, { into: "/check", semantics: "plain" });
          const found = (await root.list(ctx, "/check")).map(({ path }) => path);
          await root.remove(ctx, "/check");
          return found;
        };
        expect(await names({ path: "/d/file", semantics: "plain" })).toEqual(["file"]);
        expect(await names({ path: "/d/file", rename: "other", semantics: "plain" })).toEqual(["other"]);
        expect(await names({ path: "/o", rename: "p", semantics: "plain" })).toEqual(["p"]);
        const exclude = ["big", "link", "l".repeat(200), "null", "gone"];
        expect(await names({ path: "/d", semantics: "plain", exclude })).toEqual(["d", "d/file", "d/hard"]);
        expect(await names({ path: "/d", rename: "", semantics: "plain", exclude })).toEqual(["file", "hard"]);
      });

      it("says what is missing before it hands out a stream", async () => {
        await expect(root.pack(ctx, { path: "/nothing", semantics: "plain" })).rejects.toMatchObject({
          code: "PATH_NOT_FOUND",
        });
        await extract(tree);
        await expect(root.pack(ctx, { path: "/d/file", rename: "", semantics: "plain" })).rejects.toMatchObject({
          code: "PATH_NOT_DIRECTORY",
        });
      });

      it("can be abandoned", async () => {
        await extract(tree);
        const stream = await root.pack(ctx, { path: "/", rename: "", semantics: "layer" });
        stream.destroy();
        expect(await text("/d/file")).toBe("hello");
      });
    });
  });
}

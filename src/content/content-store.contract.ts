import { readFile } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { background } from "../base/op-context.ts";
import type { ContentStore } from "./content-store.ts";
import { digestOf } from "./digest.ts";

export interface ContentStoreFixture {
  readonly store: ContentStore;
  readonly cleanUp: () => Promise<void>;
}

/** What every {@link ContentStore} does. */
export function contentStoreContract(name: string, create: () => Promise<ContentStoreFixture>): void {
  describe(`${name} as a content store`, () => {
    const ctx = background();
    const hello = Buffer.from("hello, blob");
    let fixture: ContentStoreFixture;
    let store: ContentStore;

    beforeEach(async () => {
      fixture = await create();
      store = fixture.store;
    });
    afterEach(() => fixture.cleanUp());

    it("stores bytes under their digest and gives them back in every form", async () => {
      const info = await store.put(ctx, hello, digestOf(hello));
      expect(info).toEqual({ digest: digestOf(hello), size: hello.length });
      expect(await store.has(info.digest)).toBe(true);
      expect(await store.stat(info.digest)).toEqual(info);
      expect(Buffer.from(await store.readSmall(info.digest))).toEqual(hello);
      expect(await buffer(await store.open(info.digest))).toEqual(hello);
      expect(await buffer(await store.open(info.digest, { start: 7 }))).toEqual(hello.subarray(7));
      expect(await buffer(await store.open(info.digest, { start: 0, end: 4 }))).toEqual(hello.subarray(0, 5));
      expect(await readFile(await store.path(info.digest))).toEqual(hello);
      expect(await Array.fromAsync(store.list())).toEqual([info]);
    });

    it("tells what it takes on the disk", async () => {
      const { digest } = await store.put(ctx, hello);
      const before = await store.diskUsage();
      expect(await store.onDisk(digest)).toBeGreaterThanOrEqual(hello.length);
      expect(before).toBeGreaterThanOrEqual(await store.onDisk(digest));
      await store.remove(ctx, digest);
      expect(await store.onDisk(digest)).toBe(0);
      expect(await store.diskUsage()).toBeLessThan(before);
    });

    it("refuses bytes that do not have the expected digest, and keeps nothing", async () => {
      await expect(store.put(ctx, hello, digestOf("other"))).rejects.toMatchObject({ code: "BLOB_DIGEST_MISMATCH" });
      expect(await Array.fromAsync(store.list())).toEqual([]);
    });

    it.each(["sha256:xyz", "../../etc/passwd", `sha512:${"0".repeat(64)}`, `sha256:${"A".repeat(64)}`, ""])(
      "refuses %j as a digest",
      async (digest) => {
        await expect(store.stat(digest)).rejects.toMatchObject({ code: "BLOB_DIGEST_INVALID" });
        await expect(store.open(digest)).rejects.toMatchObject({ code: "BLOB_DIGEST_INVALID" });
        await expect(store.remove(ctx, digest)).rejects.toMatchObject({ code: "BLOB_DIGEST_INVALID" });
      },
    );

    it("says that an absent blob is absent", async () => {
      const digest = digestOf("absent");
      expect(await store.has(digest)).toBe(false);
      await expect(store.path(digest)).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
      await expect(store.readSmall(digest)).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
      await expect(store.open(digest)).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
      await store.remove(ctx, digest);
    });

    it("removes a blob", async () => {
      const { digest } = await store.put(ctx, hello);
      await store.remove(ctx, digest);
      expect(await store.has(digest)).toBe(false);
    });

    it("refuses to read a large blob whole", async () => {
      const { digest } = await store.put(ctx, Buffer.alloc((8 << 20) + 1));
      await expect(store.readSmall(digest)).rejects.toMatchObject({ code: "BLOB_TOO_LARGE" });
    });

    it("publishes only what was committed, and resumes where a writer stopped", async () => {
      {
        await using writer = await store.writer(ctx, "layer");
        expect(writer.offset).toBe(0);
        await writer.write(hello.subarray(0, 5));
      }
      expect(await Array.fromAsync(store.list())).toEqual([]);
      await using writer = await store.writer(ctx, "layer");
      expect(writer.offset).toBe(5);
      await writer.write(hello.subarray(5));
      const info = await writer.commit({ digest: digestOf(hello), size: hello.length });
      expect(Buffer.from(await store.readSmall(info.digest))).toEqual(hello);
      await using next = await store.writer(ctx, "layer");
      expect(next.offset).toBe(0);
    });

    it.each([
      ["BLOB_DIGEST_MISMATCH", { digest: digestOf("other") }],
      ["BLOB_SIZE_MISMATCH", { size: 3 }],
    ])("answers a wrong expectation with %s and drops the partial file", async (code, expected) => {
      {
        await using writer = await store.writer(ctx, "layer");
        await writer.write(hello);
        await expect(writer.commit(expected)).rejects.toMatchObject({ code });
      }
      await using writer = await store.writer(ctx, "layer");
      expect(writer.offset).toBe(0);
      expect(await Array.fromAsync(store.list())).toEqual([]);
    });

    it("discards", async () => {
      const writer = await store.writer(ctx, "layer");
      await writer.write(hello);
      await writer.discard();
      await expect(writer.write(hello)).rejects.toMatchObject({ code: "BLOB_WRITER_CLOSED" });
      await using again = await store.writer(ctx, "layer");
      expect(again.offset).toBe(0);
    });

    it("lets one writer of a ref in at a time", async () => {
      const first = await store.writer(ctx, "layer");
      let entered = false;
      const second = store.writer(ctx, "layer").then((writer) => {
        entered = true;
        return writer;
      });
      await using other = await store.writer(ctx, "other");
      expect(other.offset).toBe(0);
      await first.write(hello);
      expect(entered).toBe(false);
      await first.commit();
      await using writer = await second;
      expect(writer.offset).toBe(0);
    });

    it("stops when its context is aborted", async () => {
      const abort = new AbortController();
      await using writer = await store.writer({ ...ctx, signal: abort.signal }, "layer");
      abort.abort(new Error("gone"));
      await expect(writer.write(hello)).rejects.toThrow("gone");
      await expect(store.put({ ...ctx, signal: abort.signal }, hello)).rejects.toThrow("gone");
    });

    it("removes partial files that no one writes any more", async () => {
      {
        await using writer = await store.writer(ctx, "old");
        await writer.write(hello);
      }
      await using live = await store.writer(ctx, "live");
      await live.write(hello);
      await store.removeStalePartials(ctx, 60_000);
      {
        await using kept = await store.writer(ctx, "old");
        expect(kept.offset).toBe(hello.length);
      }
      await store.removeStalePartials(ctx, -1000);
      await using gone = await store.writer(ctx, "old");
      expect(gone.offset).toBe(0);
      expect((await live.commit()).digest).toBe(digestOf(hello));
    });
  });
}

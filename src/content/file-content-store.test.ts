import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { background } from "../base/op-context.ts";
import { contentStoreContract } from "./content-store.contract.ts";
import { digestOf } from "./digest.ts";
import { FileContentStore } from "./file-content-store.ts";

contentStoreContract("FileContentStore", async () => {
  const root = await mkdtemp(join(tmpdir(), "berth-content-"));
  return { store: new FileContentStore({ root }), cleanUp: () => rm(root, { recursive: true }) };
});

describe("FileContentStore", () => {
  const ctx = background();
  const hello = Buffer.from("hello, blob");
  let root: string;
  let store: FileContentStore;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "berth-content-"));
    store = new FileContentStore({ root });
  });
  afterEach(() => rm(root, { recursive: true }));

  it("lays blobs out as an OCI image layout does and leaves no partial file", async () => {
    const { digest } = await store.put(ctx, hello);
    expect(await store.path(digest)).toBe(join(root, "blobs", "sha256", digest.slice("sha256:".length)));
    expect(await readdir(join(root, "ingest"))).toEqual([]);
  });

  it("resumes after a restart, hashing what is there again", async () => {
    const writer = await store.writer(ctx, "layer");
    await writer.write(hello.subarray(0, 5));
    await writer[Symbol.asyncDispose]();
    const reopened = new FileContentStore({ root });
    await using again = await reopened.writer(ctx, "layer");
    await again.write(hello.subarray(5));
    expect((await again.commit({ digest: digestOf(hello) })).size).toBe(hello.length);
  });

  it("finds out when a partial file was tampered with", async () => {
    const writer = await store.writer(ctx, "layer");
    await writer.write(hello.subarray(0, 5));
    await writer[Symbol.asyncDispose]();
    const [partial = ""] = await readdir(join(root, "ingest"));
    await writeFile(join(root, "ingest", partial), "HELLO");
    await using again = await store.writer(ctx, "layer");
    await again.write(hello.subarray(5));
    await expect(again.commit({ digest: digestOf(hello) })).rejects.toMatchObject({ code: "BLOB_DIGEST_MISMATCH" });
    expect(await readdir(join(root, "ingest"))).toEqual([]);
  });

  it("finds out when a stored document was damaged", async () => {
    const { digest } = await store.put(ctx, hello);
    await writeFile(await store.path(digest), "hello, b10b");
    await expect(store.readSmall(digest)).rejects.toMatchObject({ code: "BLOB_CORRUPT" });
  });

  it("gives up waiting for a writer when its caller goes away, and passes the turn on", async () => {
    const first = await store.writer(ctx, "layer");
    const abort = new AbortController();
    const waiting = store.writer({ ...ctx, signal: abort.signal }, "layer");
    abort.abort(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
    await first.discard();
    await using next = await store.writer(ctx, "layer");
    expect(next.offset).toBe(0);
  });
});

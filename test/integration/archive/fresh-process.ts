/** A process that has used no pool thread before an archive worker does. Says whether it still sees the host's root. */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { tarOf } from "../../../src/archive/fake/tar-builder.ts";
import { ThreadConfinedRoots } from "../../../src/archive/thread-confined-roots.ts";
import { background } from "../../../src/base/op-context.ts";

const directory = mkdtempSync(join(tmpdir(), "berth-archive-"));
const roots = new ThreadConfinedRoots();
try {
  const ctx = background();
  await using root = await roots.open(ctx, directory);
  const stream = Readable.from([gzipSync(tarOf({ name: "file", data: "content" }))]);
  await root.extract(ctx, { source: { stream }, compression: "gzip", into: "/", semantics: "plain" });
  const asynchronous = await stat(directory).then(
    () => true,
    () => false,
  );
  const unpacked = readFileSync(join(directory, "file"), "utf8");
  console.log(JSON.stringify({ unpacked, synchronous: statSync(directory).isDirectory(), asynchronous }));
} finally {
  await roots[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
}

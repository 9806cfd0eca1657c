/** On a disk that is full, what was being written is given back at once. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tarOf } from "../../../src/archive/fake/tar-builder.ts";
import { ThreadConfinedRoots } from "../../../src/archive/thread-confined-roots.ts";
import { background } from "../../../src/base/op-context.ts";
import { FileContentStore } from "../../../src/content/file-content-store.ts";
import { runCommand } from "../../support/run-command.ts";

describe("a full disk", () => {
  const ctx = background();
  let disk: string;

  beforeEach(async () => {
    disk = mkdtempSync(join(tmpdir(), "berth-full-disk-"));
    await mustRun("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]);
  });

  afterEach(async () => {
    await mustRun("umount", [disk]);
    rmSync(disk, { recursive: true });
  });

  it("keeps nothing of a blob that does not fit", async () => {
    const content = new FileContentStore({ root: disk });
    const writer = await content.writer(ctx, "layer");
    await writer.write(Buffer.alloc(600_000));
    await expect(writer.write(Buffer.alloc(600_000))).rejects.toMatchObject({
      code: "CONTENT_DISK_FULL",
      status: 507,
      message: expect.stringMatching(/: no space left on device$/),
    });
    expect(readdirSync(join(disk, "ingest"))).toEqual([]);
    // The next try starts anew, and fits.
    const again = await content.writer(ctx, "layer");
    expect(again.offset).toBe(0);
    await again.write(Buffer.alloc(600_000));
    expect(await again.commit()).toMatchObject({ size: 600_000 });
  });

  it("names the entry that does not fit", async () => {
    mkdirSync(join(disk, "root"));
    await using roots = new ThreadConfinedRoots();
    await using root = await roots.open(ctx, join(disk, "root"));
    const tar = tarOf({ name: "small", data: "x" }, { name: "big", data: Buffer.alloc(2_000_000) });
    const request = {
      source: { stream: Readable.from([tar]) },
      compression: "none",
      into: "/",
      semantics: "plain",
    } as const;
    await expect(root.extract(ctx, request)).rejects.toMatchObject({
      code: "ARCHIVE_DISK_FULL",
      status: 507,
      message: 'cannot unpack "big": no space left on device',
    });
  });
});

async function mustRun(program: string, words: readonly string[]): Promise<void> {
  const { code, stderr } = await runCommand(program, words);
  if (code !== 0) throw new Error(`${program}: ${stderr}`);
}

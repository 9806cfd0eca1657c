import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { background } from "../base/op-context.ts";
import { FakeHost } from "../host/fake/fake-host.ts";
import { MachineDisks } from "./disks.ts";
import { emptyOverlay } from "./qcow2-overlay.ts";

let root: string;
let host: FakeHost;
let disks: MachineDisks;
const ctx = background();

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "berth-disks-"));
  host = new FakeHost();
  disks = new MachineDisks({ host, root });
  host.processes.script("du", ({ argv }) => ({
    stdout: argv.includes("--inodes") ? "300\tx\n" : `${200 * 1024 * 1024}\tx\n`,
  }));
  host.processes.script("mkfs.ext4", ({ argv }) => {
    writeFileSync(argv.at(-2) ?? "", argv.join(" "));
    return {};
  });
  host.processes.script("debugfs", () => ({}));
});

afterEach(() => rmSync(root, { recursive: true }));

test("an image's disk is made once, for many who ask at once, with room for its files", async () => {
  const tree = { digest: "abc", directory: "/tree" };
  expect(disks.hasImage("abc")).toBe(false);
  const paths = await Promise.all([disks.image(ctx, tree), disks.image(ctx, tree)]);
  expect(paths).toEqual([join(root, "images/abc.ext4"), join(root, "images/abc.ext4")]);
  expect(host.processes.runs.filter(({ argv }) => argv[0].endsWith("mkfs.ext4"))).toHaveLength(1);
  expect(readFileSync(paths[0] ?? "", "utf8")).toMatch(/-O \^has_journal -N 4396 -d \/tree .* 254M$/);
  expect(disks.hasImage("abc")).toBe(true);
});

test("a disk that can't be made leaves nothing, and says why", async () => {
  host.processes.script("mkfs.ext4", ({ argv }) => {
    writeFileSync(argv.at(-2) ?? "", "half");
    return { code: 1, stderr: "mke2fs 1.47\nmkfs.ext4: No space left on device\n" };
  });
  await expect(disks.image(ctx, { digest: "abc", directory: "/tree" })).rejects.toThrow(
    /mkfs.ext4: No space left on device/,
  );
  expect(readdirSync(join(root, "images"))).toEqual([]);
  host.processes.uninstall("mkfs.ext4");
  await expect(disks.blank(ctx, 1024)).rejects.toMatchObject({
    code: "GUEST_TOOL_MISSING",
    hint: expect.stringContaining("e2fsprogs"),
  });
});

test("a scratch disk is an overlay of the blank one of its size", async () => {
  expect(await disks.blank(ctx, 8192)).toBe(join(root, "blank/8192.ext4"));
  await disks.scratch(join(root, "s.qcow2"), "/berth/blank", 8192);
  const overlay = readFileSync(join(root, "s.qcow2"));
  expect(overlay.readBigUInt64BE(24)).toBe(8192n * 1024n * 1024n);
  const nameAt = Number(overlay.readBigUInt64BE(8));
  expect(overlay.toString("utf8", nameAt, nameAt + overlay.readUInt32BE(16))).toBe("/berth/blank");
  expect(existsSync(join(root, "blank"))).toBe(true);
});

test.each([
  ["", 1],
  ["x".repeat(1024), 1],
  ["/b", 0],
  ["/b", 5 * 2 ** 40],
])("an overlay of %j with %d bytes is refused", (backing, size) => {
  expect(() => emptyOverlay(backing, size)).toThrow(RangeError);
});

test("what a killed engine left half made goes at the next start, and so does the disk of an image that has gone", async () => {
  const needed = "a".repeat(64);
  const gone = "b".repeat(64);
  for (const digest of [needed, gone]) await disks.image(ctx, { digest, directory: "/tree" });
  await disks.blank(ctx, 64);
  writeFileSync(join(root, "images", `${gone}.ext4.draft-123456`), "");
  writeFileSync(join(root, "blank", "128.ext4.draft-123456"), "");
  await disks.collect(async (digest) => digest === needed);
  expect(readdirSync(join(root, "images"))).toEqual([`${needed}.ext4`]);
  expect(readdirSync(join(root, "blank"))).toEqual(["64.ext4"]);
});

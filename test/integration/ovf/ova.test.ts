/** OVA archives as other programs see them (tar, xmllint, qemu-img, sha256sum), and hostile ones. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import type { OvfMachine } from "../../../src/ovf/ovf-machine.ts";
import { receiveOva } from "../../../src/ovf/read-ova.ts";
import { diskFileName, writeOva } from "../../../src/ovf/write-ova.ts";

const ctx = background();
const root = mkdtempSync(join(tmpdir(), "berth-ova-"));
afterAll(() => rmSync(root, { recursive: true }));

let count = 0;
function fresh(): string {
  const directory = join(root, String(++count));
  mkdirSync(directory);
  return directory;
}

function run(cwd: string, program: string, ...words: string[]): string {
  return execFileSync(program, words, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

async function* chunksOf(bytes: Buffer, size = 100_000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

function describedDisk(index: number, size: number) {
  return { href: diskFileName("web", index), size, compression: "identity" as const, chunkSize: undefined };
}

async function archive(): Promise<{ readonly bytes: Buffer; readonly machine: OvfMachine; readonly disk: Buffer }> {
  const directory = fresh();
  const path = join(directory, "disk.vmdk");
  writeFileSync(join(directory, "raw"), Buffer.alloc(1024 * 1024, "contents "));
  run(
    directory,
    "qemu-img",
    "convert",
    "-f",
    "raw",
    "-O",
    "vmdk",
    "-o",
    "subformat=streamOptimized",
    "raw",
    "disk.vmdk",
  );
  const disk = readFileSync(path);
  const { size } = statSync(path);
  const machine: OvfMachine = {
    name: "web",
    description: "",
    cpus: 2,
    memory: 1024 ** 3,
    os: "linux",
    firmware: "uefi",
    tpm: true,
    disks: [{ bus: "virtio", capacity: 1024 * 1024, file: describedDisk(0, size) }],
    nics: [{ model: "virtio", network: "default", mac: "52:54:00:00:00:01" }],
    cdroms: [{ file: undefined }],
  };
  const sha256 = createHash("sha256").update(disk).digest("hex");
  const pieces = writeOva(ctx, { name: "web", machine, disks: [{ path, size, sha256 }], date: new Date(1e12) });
  return { bytes: Buffer.concat(await Array.fromAsync(pieces)), machine, disk };
}

describe("an OVA", () => {
  it("is a ustar archive that tar, xmllint, sha256sum and qemu-img take", async () => {
    const { bytes } = await archive();
    const directory = fresh();
    writeFileSync(join(directory, "web.ova"), bytes);
    expect(run(directory, "tar", "-tf", "web.ova").trim().split("\n")).toEqual(["web.ovf", "web.mf", "web-disk1.vmdk"]);
    expect(bytes.toString("latin1", 257, 263)).toBe("ustar\0");
    run(directory, "tar", "-xf", "web.ova");
    run(directory, "xmllint", "--noout", "--relaxng", join(import.meta.dirname, "envelope.rng"), "web.ovf");
    const sums = readFileSync(join(directory, "web.mf"), "utf8").replaceAll(/^SHA256\((.*)\)= (.*)$/gm, "$2  $1");
    writeFileSync(join(directory, "sums"), sums);
    expect(run(directory, "sha256sum", "-c", "sums")).toBe("web.ovf: OK\nweb-disk1.vmdk: OK\n");
    expect(JSON.parse(run(directory, "qemu-img", "info", "--output=json", "web-disk1.vmdk"))).toMatchObject({
      format: "vmdk",
      "virtual-size": 1024 * 1024,
    });
  });

  it("is received as what was sent, in pieces of any size", async () => {
    const { bytes, machine, disk } = await archive();
    for (const size of [513, 4096, bytes.length]) {
      const received = await receiveOva(ctx, chunksOf(bytes, size), { directory: fresh(), maxBytes: 2 ** 30 });
      expect(received.machine).toEqual(machine);
      const [file] = received.files;
      const [piece, ...others] = file === undefined ? [] : received.pieces(file);
      expect(others).toEqual([]);
      expect(readFileSync(piece?.path ?? "").equals(disk)).toBe(true);
    }
  });

  it("has a file in chunks", async () => {
    const { bytes } = await archive();
    const directory = fresh();
    writeFileSync(join(directory, "web.ova"), bytes);
    run(directory, "tar", "-xf", "web.ova");
    run(directory, "split", "-b", "1000", "-d", "-a", "9", "web-disk1.vmdk", "web-disk1.vmdk.");
    const ovf = readFileSync(join(directory, "web.ovf"), "utf8").replace("<File ", '<File ovf:chunkSize="1000" ');
    writeFileSync(join(directory, "web.ovf"), ovf);
    const pieces = readdirSync(directory).filter((name) => /\.\d{9}$/.test(name));
    run(directory, "tar", "--format=ustar", "-cf", "cut.ova", "web.ovf", ...pieces.sort());
    const cut = readFileSync(join(directory, "cut.ova"));
    const received = await receiveOva(ctx, chunksOf(cut), { directory: fresh(), maxBytes: 2 ** 30 });
    const [file] = received.files;
    expect(file === undefined ? 0 : received.pieces(file).length).toBe(pieces.length);
  });
});

describe("a hostile OVA", () => {
  /** The archive's files in a directory, changed there and packed again. */
  async function changed(change: (directory: string) => readonly string[]): Promise<Buffer> {
    const { bytes } = await archive();
    const directory = fresh();
    writeFileSync(join(directory, "web.ova"), bytes);
    run(directory, "tar", "-xf", "web.ova");
    run(directory, "tar", "--format=ustar", "-P", "-cf", "bad.ova", ...change(directory));
    return readFileSync(join(directory, "bad.ova"));
  }
  const all = ["web.ovf", "web.mf", "web-disk1.vmdk"];
  const described = all.filter((name) => name !== "web.mf");
  const edit = (directory: string, name: string, from: string | RegExp, to: string) => {
    const path = join(directory, name);
    writeFileSync(path, readFileSync(path, "latin1").replace(from, to), "latin1");
  };

  const cases: readonly (readonly [string, (directory: string) => readonly string[], string])[] = [
    ["a name that leads out", () => ["--transform=s,web-disk1,../../x,", ...all], "OVA_ENTRY_REFUSED"],
    ["an absolute name", () => ["--transform=s,web-disk1,/etc/x,", ...all], "OVA_ENTRY_REFUSED"],
    ["a directory in a name", () => ["--transform=s,web-disk1,a/x,", ...all], "OVA_ENTRY_REFUSED"],
    [
      "a symbolic link",
      (directory) => {
        rmSync(join(directory, "web-disk1.vmdk"));
        symlinkSync("/etc/shadow", join(directory, "web-disk1.vmdk"));
        return described;
      },
      "OVA_ENTRY_REFUSED",
    ],
    [
      "a file that nobody names",
      (directory) => {
        writeFileSync(join(directory, "stray"), "x");
        return [...described, "stray"];
      },
      "OVA_ENTRY_REFUSED",
    ],
    ["a file twice", () => [...all, "--hard-dereference", "web.ovf"], "OVA_ENTRY_REFUSED"],
    [
      "two descriptions",
      (directory) => {
        writeFileSync(join(directory, "b.ovf"), readFileSync(join(directory, "web.ovf")));
        return [...described, "b.ovf"];
      },
      "OVA_ENTRY_REFUSED",
    ],
    ["no description", () => ["web-disk1.vmdk"], "OVF_INVALID"],
    ["a disk that is missing", () => ["web.ovf"], "OVA_FILE_MISSING"],
    [
      "a disk that was changed",
      (directory) => {
        edit(directory, "web-disk1.vmdk", "KDMV", "KDMW");
        return all;
      },
      "OVA_DIGEST_MISMATCH",
    ],
    [
      "a description that was changed",
      (directory) => {
        edit(directory, "web.ovf", "Linux", "Minix");
        return all;
      },
      "OVA_DIGEST_MISMATCH",
    ],
    [
      "a manifest that leaves out a file",
      (directory) => {
        edit(directory, "web.mf", /^.*vmdk.*\n/m, "");
        return all;
      },
      "OVA_ENTRY_REFUSED",
    ],
    [
      "a manifest in no language",
      (directory) => {
        writeFileSync(join(directory, "web.mf"), "rubbish\n");
        return all;
      },
      "OVF_INVALID",
    ],
    [
      "a size that is not the file's",
      (directory) => {
        edit(directory, "web.ovf", /ovf:size="\d+"/, 'ovf:size="7"');
        return described;
      },
      "OVA_ENTRY_REFUSED",
    ],
    [
      "an entity from a file",
      (directory) => {
        edit(
          directory,
          "web.ovf",
          "<Envelope",
          '<!DOCTYPE Envelope [<!ENTITY x SYSTEM "file:///etc/passwd">]><Envelope',
        );
        return described;
      },
      "OVF_INVALID",
    ],
    [
      "a description without end",
      (directory) => {
        edit(directory, "web.ovf", "</Envelope>", `<!--${"x".repeat(3 * 1024 * 1024)}--></Envelope>`);
        return described;
      },
      "OVA_ENTRY_REFUSED",
    ],
  ];

  it.each(cases)("with %s is refused", async (_, change, code) => {
    const bytes = await changed(change);
    const directory = fresh();
    const receiving = receiveOva(ctx, chunksOf(bytes), { directory, maxBytes: 2 ** 30 });
    await expect(receiving).rejects.toMatchObject({ code, status: 400 });
    // Whatever there was is in this directory, under names of ours.
    for (const name of readdirSync(directory)) expect(name).toMatch(/^\d+\.part$/);
  });

  it("that is cut off, too large, or no tar at all is refused", async () => {
    const { bytes } = await archive();
    const receive = (data: Buffer, maxBytes = 2 ** 30) =>
      receiveOva(ctx, chunksOf(data), { directory: fresh(), maxBytes });
    await expect(receive(bytes.subarray(0, bytes.length / 2))).rejects.toMatchObject({ code: "ARCHIVE_TRUNCATED" });
    await expect(receive(bytes, 10_000)).rejects.toMatchObject({ code: "OVA_TOO_LARGE" });
    await expect(receive(Buffer.alloc(100_000, "no tar"))).rejects.toMatchObject({ status: 400 });
    await expect(receive(Buffer.alloc(0))).rejects.toMatchObject({ code: "OVF_INVALID" });
  });
});

/** Bootable media that run within a second under emulation: one sector of program, on a disk or an ISO. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const source = new URL("tiny-os.S", import.meta.url).pathname;

/** The boot sector; `dir` is for what it is made of. */
export function bootSector(dir: string): Buffer {
  const [object, binary] = [join(dir, "tiny.o"), join(dir, "tiny.bin")];
  execFileSync("as", ["--64", "-o", object, source]);
  execFileSync("ld", ["-m", "elf_x86_64", "-Ttext", "0x7c00", "--oformat", "binary", "-o", binary, object]);
  return readFileSync(binary).subarray(0, 512);
}

/** A raw disk of 1 MiB that boots on a BIOS. */
export function tinyDisk(dir: string): string {
  const file = join(dir, "tiny.img");
  writeFileSync(file, Buffer.concat([bootSector(dir)], 1024 * 1024));
  return file;
}

/** An ISO that boots on a BIOS (El Torito, no emulation). `boots: false`: without a boot record. */
export function tinyIso(dir: string, { boots = true } = {}): string {
  const [tree, file] = [join(dir, "iso"), join(dir, boots ? "tiny.iso" : "data.iso")];
  mkdirSync(tree, { recursive: true });
  writeFileSync(join(tree, "boot.bin"), Buffer.concat([bootSector(dir)], 2048));
  const boot = ["-b", "boot.bin", "-no-emul-boot", "-boot-load-size", "4", "-c", "boot.cat"];
  execFileSync("genisoimage", ["-quiet", "-o", file, ...(boots ? boot : []), tree], { stdio: "pipe" });
  rmSync(tree, { recursive: true });
  return file;
}

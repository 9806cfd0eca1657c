import { createHash } from "node:crypto";
import { constants, existsSync } from "node:fs";
import { type FileHandle, open, statfs } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Readable } from "node:stream";
import { newId } from "../base/ids.ts";
import type { OpContext } from "../base/op-context.ts";
import { failpoints } from "../host/failpoints.ts";
import { rename, rm } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import { admitTool, descriptorPath, OpenChain, openDisk, runConfined, type Tool } from "./confined-qemu-img.ts";
import { diskErrors } from "./errors.ts";
import { detectFormat, headBytes, type ImageBytes, readHeader, tailBytes } from "./image-header.ts";
import { parseCheck, parseInfo, parseMeasure, progressReader } from "./qemu-img-output.ts";
import { writeSparse } from "./sparse-file.ts";
import type {
  CheckResult,
  ConvertOptions,
  CreateOptions,
  DiskImage,
  DiskInfo,
  InspectOptions,
  OverlayOptions,
  SnapshotAction,
  VirtualDisks,
} from "./virtual-disks.ts";
import { renameExtent } from "./vmdk-descriptor.ts";

const TiB = 1024 ** 4;
const shortMs = 60_000;
/** For what reads a whole disk: as slow as a busy hard disk, and no longer than a day's work. */
const slowest = { bytesPerMs: 8 * 1024, maxMs: 12 * 3600 * 1000 };
/** Left on the file system beside a converted disk. */
const reserveBytes = 64 * 1024 * 1024;
/** Tables and headers that a format has beside its data. */
const overheadOf = (virtualSize: number) => virtualSize / 64 + 64 * 1024 * 1024;

export interface QemuImgDisksOptions {
  readonly host: Pick<Host, "processes">;
  /** Bytes that a disk may have for its machine; 16 TiB by default. */
  readonly maxVirtualSize?: number;
}

/** Disks by qemu-img, confined. Only for files in directories that nobody but root can enter. */
export class QemuImgDisks implements VirtualDisks {
  readonly #processes: Host["processes"];
  readonly #maxVirtualSize: number;

  constructor({ host, maxVirtualSize = 16 * TiB }: QemuImgDisksOptions) {
    this.#processes = host.processes;
    this.#maxVirtualSize = maxVirtualSize;
  }

  async inspect(ctx: OpContext, file: string, options: InspectOptions = {}): Promise<DiskInfo> {
    const name = options.name ?? file;
    const bytes = await readEnds(file, name);
    const format = options.format ?? detectFormat(bytes);
    const header = readHeader(bytes, format);
    if (header.backing !== undefined && options.backing === undefined) {
      throw diskErrors.DISK_BACKING_REFUSED({ file: name, backing: header.backing });
    }
    this.#requireSize(name, header.virtualSize ?? 0);
    const info = await this.#info(ctx, { file, format }, name, options.inUse);
    this.#requireSize(name, info.virtualSize);
    return { ...info, ...(header.variant === undefined ? {} : { variant: header.variant }) };
  }

  async create(
    ctx: OpContext,
    file: string,
    { size, format = "qcow2", preallocation = "off" }: CreateOptions,
  ): Promise<void> {
    this.#requireWanted(file, size);
    await this.#publish(file, async (draft) => {
      if (format === "raw") return await draft.truncate(size);
      const words = ["-f", format, "-o", `preallocation=${preallocation}`, descriptorPath(0), String(size)];
      await this.#run(ctx, { words: ["create", "-q", ...words], files: [draft], verb: "create", name: file });
    });
  }

  async overlay(ctx: OpContext, file: string, { backing, recordedPath, size }: OverlayOptions): Promise<void> {
    const base = await this.#info(ctx, backing, backing.file, true);
    const wanted = size ?? base.virtualSize;
    this.#requireWanted(file, wanted);
    if (wanted < base.virtualSize) throw diskErrors.DISK_SHRINK_REFUSED({ file, bytes: base.virtualSize, wanted });
    await this.#publish(file, async (draft) => {
      // -u: the backing file is not opened, its size is given.
      const recorded = ["-u", "-b", recordedPath ?? backing.file, "-F", backing.format];
      const words = ["create", "-q", "-f", "qcow2", ...recorded, descriptorPath(0), String(wanted)];
      await this.#run(ctx, { words, files: [draft], verb: "create", name: file });
    });
  }

  async convert(ctx: OpContext, options: ConvertOptions): Promise<void> {
    const { source, target, format, name = target } = options;
    await using chain = await OpenChain.open(source, "read");
    const shared = options.inUse === true ? ["-U"] : [];
    const { virtualSize } = await this.#info(ctx, source, name, options.inUse);
    await this.#requireSpace(ctx, chain, { target, name, format, shared, virtualSize });
    await this.#publish(target, async (draft) => {
      const words = [
        "convert",
        "-p",
        ...shared,
        ...(options.compressed === true && format === "qcow2" ? ["-c"] : []),
        ...formatWords(options),
        chain.word,
        descriptorPath(chain.files.length),
      ];
      await this.#run(ctx, {
        words,
        files: [...chain.files, draft],
        verb: "convert",
        name,
        timeoutMs: timeFor(virtualSize),
        maxFileBytes: Math.ceil(virtualSize + overheadOf(virtualSize)),
        onOutput: progressReader(options.progress),
      });
      if (format === "vmdk") await nameExtent(draft, basename(target));
    });
  }

  async resize(ctx: OpContext, disk: DiskImage, size: number): Promise<void> {
    const name = disk.file;
    this.#requireWanted(name, size);
    const { virtualSize } = await this.#info(ctx, disk, name, true);
    if (size < virtualSize) throw diskErrors.DISK_SHRINK_REFUSED({ file: name, bytes: virtualSize, wanted: size });
    if (size === virtualSize) return;
    await using chain = await OpenChain.open(disk, "write");
    const words = ["resize", "-q", chain.word, String(size)];
    await this.#run(ctx, { words, files: chain.files, verb: "resize", name });
  }

  async snapshot(ctx: OpContext, disk: DiskImage, action: SnapshotAction, tag: string): Promise<void> {
    const { snapshots, virtualSize } = await this.#info(ctx, disk, disk.file);
    if (action !== "create" && !snapshots.includes(tag)) {
      if (action === "delete") return;
      throw diskErrors.DISK_SNAPSHOT_MISSING({ file: disk.file, tag });
    }
    await using chain = await OpenChain.open({ file: disk.file, format: disk.format }, "write");
    const words = ["snapshot", "-q", { create: "-c", apply: "-a", delete: "-d" }[action], tag, chain.word];
    const timeoutMs = timeFor(virtualSize);
    await this.#run(ctx, { words, files: chain.files, verb: `${action} a snapshot of`, name: disk.file, timeoutMs });
  }

  async check(ctx: OpContext, disk: DiskImage, { repair = false } = {}): Promise<CheckResult> {
    if (disk.format === "raw" || disk.format === "vpc") return { corruptions: 0, leaks: 0, repaired: 0 };
    const { virtualSize } = await this.#info(ctx, disk, disk.file, true);
    await using chain = await OpenChain.open(disk, repair ? "write" : "read");
    const words = ["check", "--output=json", ...(repair ? ["-r", "all"] : ["-U"]), chain.word];
    // 2: corruptions were found, 3: leaks were found. Both come with the figures.
    const ok = [0, 2, 3];
    const tool = { words, files: chain.files, verb: "check", name: disk.file, timeoutMs: timeFor(virtualSize) };
    return parseCheck(await this.#run(ctx, tool, ok), disk.file);
  }

  async digest(ctx: OpContext, file: string): Promise<string> {
    await using handle = await openDisk(file, "read");
    const hash = createHash("sha256");
    const stream = handle.createReadStream({ autoClose: false, signal: ctx.signal, highWaterMark: 1024 * 1024 });
    for await (const chunk of stream) hash.update(chunk);
    return `sha256:${hash.digest("hex")}`;
  }

  async take(ctx: OpContext, source: string, target: string): Promise<void> {
    await using from = await openAnybodys(source);
    const { size } = await from.stat();
    this.#requireSize(source, size);
    await this.#publish(target, async (draft) => {
      const cp = this.#processes.which("cp");
      if (cp === undefined) throw diskErrors.DISK_TOOL_MISSING({ program: "cp" });
      const argv = [cp, "--reflink=auto", "--sparse=always", "--", "/proc/self/fd/3", "/proc/self/fd/4"] as const;
      const fds = { 3: { kind: "fd", fd: from.fd }, 4: { kind: "fd", fd: draft.fd } } as const;
      const { code, stderr } = await this.#processes.run(ctx, { argv, fds, timeoutMs: timeFor(size) });
      if (code !== 0) throw diskErrors.DISK_TOOL_FAILED({ file: source, verb: "copy", reason: lastLine(stderr) });
    });
  }

  async receive(ctx: OpContext, source: Readable, target: string, maxBytes: number): Promise<void> {
    await this.#publish(target, async (draft) => {
      const tooLarge = (bytes: number) => diskErrors.DISK_TOO_LARGE({ file: basename(target), bytes, max: maxBytes });
      await writeSparse(ctx, draft, source, { maxBytes, tooLarge });
    });
  }

  /** Of the one file: what is behind it is not opened. */
  async #info(ctx: OpContext, { file, format }: DiskImage, name: string, inUse = false): Promise<DiskInfo> {
    await using alone = await OpenChain.open({ file, format }, "read");
    const words = ["info", "--output=json", ...(inUse ? ["-U"] : []), alone.word];
    const output = await this.#run(ctx, { words, files: alone.files, verb: "read", name });
    return parseInfo(output, format, name);
  }

  /** Its standard output. What a file has wrong about it is `DISK_CORRUPT`, a lock on it `DISK_IN_USE`. */
  async #run(
    ctx: OpContext,
    tool: Omit<Tool, "timeoutMs"> & { readonly timeoutMs?: number },
    ok: readonly number[] = [0],
  ): Promise<string> {
    const { code, stdout, stderr } = await runConfined(ctx, this.#processes, { timeoutMs: shortMs, ...tool });
    if (ok.includes(code)) return stdout;
    const { name: file, verb } = tool;
    const reason = lastLine(stderr).replaceAll(/\/proc\/self\/fd\/\d+/g, basename(file)) || `exit code ${code}`;
    if (/Failed to get .*lock/.test(stderr)) throw diskErrors.DISK_IN_USE({ file });
    if (verb === "read") throw diskErrors.DISK_CORRUPT({ file, reason });
    throw diskErrors.DISK_TOOL_FAILED({ file, verb, reason });
  }

  /** A new file, filled by `fill` under another name and then given its own. */
  async #publish(path: string, fill: (draft: FileHandle) => Promise<void>): Promise<void> {
    if (existsSync(path)) throw diskErrors.DISK_EXISTS({ file: path });
    const draft = `${path}.draft-${newId().slice(0, 12)}`;
    try {
      if (failpoints.on) await failpoints.before("file.write", draft);
      await using file = await open(draft, "wx+", 0o600);
      await admitTool(file, draft, "write");
      await fill(file);
      await file.datasync();
      await rename(draft, path);
    } finally {
      await rm(draft, { force: true });
    }
  }

  async #requireSpace(
    ctx: OpContext,
    chain: OpenChain,
    {
      target,
      name,
      format,
      shared,
      virtualSize,
    }: Pick<ConvertOptions, "target" | "format"> & {
      readonly name: string;
      readonly shared: readonly string[];
      readonly virtualSize: number;
    },
  ): Promise<void> {
    // Other formats can't be measured; they need about what qcow2 does.
    const measured = format === "raw" ? "raw" : "qcow2";
    const words = ["measure", "--output=json", ...shared, "-O", measured, chain.word];
    const tool = { words, files: chain.files, verb: "measure", name, timeoutMs: timeFor(virtualSize) };
    const needed = parseMeasure(await this.#run(ctx, tool), name);
    const { bavail, bsize } = await statfs(dirname(target));
    const free = bavail * bsize;
    if (needed + reserveBytes > free) throw diskErrors.DISK_NO_SPACE({ file: name, needed, free });
  }

  #requireSize(file: string, bytes: number): void {
    if (bytes > this.#maxVirtualSize) throw diskErrors.DISK_TOO_LARGE({ file, bytes, max: this.#maxVirtualSize });
  }

  #requireWanted(file: string, bytes: number): void {
    if (!Number.isSafeInteger(bytes) || bytes < 512 || bytes % 512 !== 0) throw diskErrors.DISK_SIZE_INVALID({ bytes });
    this.#requireSize(file, bytes);
  }
}

function formatWords({ format, subformat = "monolithicSparse" }: ConvertOptions): readonly string[] {
  switch (format) {
    case "vmdk":
      return ["-O", "vmdk", "-o", `subformat=${subformat},adapter_type=lsilogic`];
    case "vpc":
      // Without it, the size is rounded to what a geometry of 1990 can say.
      return ["-O", "vpc", "-o", "force_size=on"];
    case "qcow2":
    case "raw":
    case "vdi":
    case "vhdx":
      return ["-O", format];
  }
}

function timeFor(bytes: number): number {
  return Math.min(shortMs * 2 + bytes / slowest.bytesPerMs, slowest.maxMs);
}

async function readEnds(file: string, name: string): Promise<ImageBytes> {
  await using handle = await openDisk(file, "read");
  const { size } = await handle.stat();
  const read = async (start: number, length: number) => {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, start);
    return buffer.subarray(0, bytesRead);
  };
  const head = await read(0, Math.min(headBytes, size));
  const tail = await read(Math.max(0, size - tailBytes), Math.min(tailBytes, size));
  return { name, head, tail, size };
}

/** A file that is not ours stays as it is. */
async function openAnybodys(file: string): Promise<FileHandle> {
  let handle: FileHandle;
  try {
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") throw diskErrors.DISK_NOT_FOUND({ file }, { cause: error });
    throw error;
  }
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw diskErrors.DISK_FORMAT_UNSUPPORTED({ file, reason: "it is no regular file" });
}

/** A vmdk names itself in its descriptor; while it was made its name was that of a descriptor. */
async function nameExtent(file: FileHandle, name: string): Promise<void> {
  const { buffer: header } = await file.read(Buffer.alloc(512), 0, 512, 0);
  const at = Number(header.readBigUInt64LE(28)) * 512;
  const length = Number(header.readBigUInt64LE(36)) * 512;
  const { buffer } = await file.read(Buffer.alloc(length), 0, length, at);
  await file.write(renameExtent(buffer, name), 0, length, at);
}

function lastLine(text: string): string {
  return (
    text
      .trim()
      .split("\n")
      .at(-1)
      ?.replace(/^qemu-img: /, "") ?? ""
  );
}

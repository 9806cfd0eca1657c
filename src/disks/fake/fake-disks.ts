import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, stat, writeFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import type { OpContext } from "../../base/op-context.ts";
import { diskErrors } from "../errors.ts";
import { detectFormat, headBytes, readHeader, tailBytes } from "../image-header.ts";
import type {
  CheckResult,
  ConvertOptions,
  CreateOptions,
  DiskFormat,
  DiskImage,
  DiskInfo,
  InspectOptions,
  OverlayOptions,
  SnapshotAction,
  VirtualDisks,
} from "../virtual-disks.ts";

const magic = "berth's fake disk ";
const maxVirtualSize = 16 * 1024 ** 4;

interface Faked {
  readonly format: DiskFormat;
  readonly virtualSize: number;
  readonly backing?: string;
  /** Base64; its zeros at the end may be missing. */
  readonly contents: string;
  /** Contents by tag. */
  readonly snapshots?: Readonly<Record<string, string>>;
}

/** Small files that say what a disk would be. Raw ones are what they are. For tests only, with disks of a few MiB. */
export class FakeDisks implements VirtualDisks {
  /** Found and mended by {@link check}, by file. */
  readonly damaged = new Map<string, Pick<CheckResult, "corruptions" | "leaks">>();

  async inspect(_ctx: OpContext, file: string, options: InspectOptions = {}): Promise<DiskInfo> {
    const name = options.name ?? file;
    const bytes = await readDisk(file);
    const faked = parse(bytes);
    const ends = { name, head: bytes.subarray(0, headBytes), tail: bytes.subarray(-tailBytes), size: bytes.length };
    const header = faked ?? readHeader(ends, options.format ?? detectFormat(ends));
    if (header.backing !== undefined && options.backing === undefined) {
      throw diskErrors.DISK_BACKING_REFUSED({ file: name, backing: header.backing });
    }
    return {
      format: header.format,
      virtualSize: header.virtualSize ?? bytes.length,
      actualSize: (await stat(file)).blocks * 512,
      ...(header.backing === undefined ? {} : { backing: header.backing }),
      snapshots: Object.keys(faked?.snapshots ?? {}),
      dirty: false,
    };
  }

  async create(_ctx: OpContext, file: string, { size, format = "qcow2" }: CreateOptions): Promise<void> {
    requireSize(file, size);
    await publish(file, encode({ format, virtualSize: size, contents: "" }));
  }

  async overlay(ctx: OpContext, file: string, { backing, recordedPath, size }: OverlayOptions): Promise<void> {
    const { virtualSize } = await this.inspect(ctx, backing.file, { format: backing.format, backing });
    const wanted = size ?? virtualSize;
    requireSize(file, wanted);
    if (wanted < virtualSize) throw diskErrors.DISK_SHRINK_REFUSED({ file, bytes: virtualSize, wanted });
    const recorded = recordedPath ?? backing.file;
    await publish(file, encode({ format: "qcow2", virtualSize: wanted, backing: recorded, contents: "" }));
  }

  async convert(ctx: OpContext, { source, target, format, progress }: ConvertOptions): Promise<void> {
    const { virtualSize } = await this.inspect(ctx, source.file, { format: source.format, backing: source });
    const contents = await contentsOf(source);
    progress?.(0);
    await publish(target, encode({ format, virtualSize, contents: contents.toString("base64") }));
    progress?.(1);
  }

  async resize(ctx: OpContext, disk: DiskImage, size: number): Promise<void> {
    requireSize(disk.file, size);
    const { virtualSize } = await this.inspect(ctx, disk.file, { format: disk.format, backing: disk });
    if (size < virtualSize) throw diskErrors.DISK_SHRINK_REFUSED({ file: disk.file, bytes: virtualSize, wanted: size });
    const bytes = await readDisk(disk.file);
    const faked = parse(bytes) ?? { format: disk.format, contents: bytes.toString("base64") };
    await writeFile(disk.file, encode({ ...faked, virtualSize: size }));
  }

  async snapshot(_ctx: OpContext, { file }: DiskImage, action: SnapshotAction, tag: string): Promise<void> {
    const faked = parse(await readDisk(file));
    if (faked === undefined) throw diskErrors.DISK_TOOL_FAILED({ file, verb: "snapshot", reason: "it is raw" });
    const { [tag]: kept, ...others } = faked.snapshots ?? {};
    if (action === "apply" && kept === undefined) throw diskErrors.DISK_SNAPSHOT_MISSING({ file, tag });
    const { contents } = faked;
    switch (action) {
      case "create":
        return await writeFile(file, encode({ ...faked, snapshots: { ...others, [tag]: contents } }));
      case "apply":
        return await writeFile(file, encode({ ...faked, contents: kept ?? contents }));
      case "delete":
        return await writeFile(file, encode({ ...faked, snapshots: others }));
    }
  }

  async check(_ctx: OpContext, disk: DiskImage, { repair = false } = {}): Promise<CheckResult> {
    const { corruptions, leaks } = this.damaged.get(disk.file) ?? { corruptions: 0, leaks: 0 };
    if (!repair) return { corruptions, leaks, repaired: 0 };
    this.damaged.delete(disk.file);
    return { corruptions: 0, leaks: 0, repaired: corruptions + leaks };
  }

  async digest(_ctx: OpContext, file: string): Promise<string> {
    return `sha256:${createHash("sha256")
      .update(await readDisk(file))
      .digest("hex")}`;
  }

  async take(_ctx: OpContext, source: string, target: string): Promise<void> {
    await publish(target, await readDisk(source));
  }

  async receive(_ctx: OpContext, source: Readable, target: string, maxBytes: number): Promise<void> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw diskErrors.DISK_TOO_LARGE({ file: target, bytes, max: maxBytes });
      chunks.push(chunk);
    }
    await publish(target, Buffer.concat(chunks));
  }
}

async function readDisk(file: string): Promise<Buffer> {
  if (!existsSync(file)) throw diskErrors.DISK_NOT_FOUND({ file });
  if (!(await stat(file)).isFile()) {
    throw diskErrors.DISK_FORMAT_UNSUPPORTED({ file, reason: "it is no regular file" });
  }
  return await readFile(file);
}

async function publish(file: string, bytes: Uint8Array): Promise<void> {
  if (existsSync(file)) throw diskErrors.DISK_EXISTS({ file });
  await writeFile(file, bytes);
}

function requireSize(file: string, bytes: number): void {
  if (!Number.isSafeInteger(bytes) || bytes < 512 || bytes % 512 !== 0) throw diskErrors.DISK_SIZE_INVALID({ bytes });
  if (bytes > maxVirtualSize) throw diskErrors.DISK_TOO_LARGE({ file, bytes, max: maxVirtualSize });
}

function encode(faked: Faked): Buffer {
  if (faked.format !== "raw") return Buffer.from(magic + JSON.stringify(faked));
  const contents = Buffer.from(faked.contents, "base64");
  return Buffer.concat([contents, Buffer.alloc(faked.virtualSize - contents.length)]);
}

function parse(bytes: Buffer): Faked | undefined {
  const text = bytes.toString("latin1", 0, magic.length);
  return text === magic ? JSON.parse(bytes.toString("utf8", magic.length)) : undefined;
}

async function contentsOf(disk: DiskImage): Promise<Buffer> {
  const bytes = await readDisk(disk.file);
  const faked = parse(bytes);
  if (faked === undefined) return bytes;
  return disk.backing === undefined ? Buffer.from(faked.contents, "base64") : await contentsOf(disk.backing);
}

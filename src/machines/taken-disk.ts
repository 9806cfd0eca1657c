/** Disks that users name are looked at and converted only as copies of ours: a tool that reads one may only enter our directories. */
import { join } from "node:path";
import { newId } from "../base/ids.ts";
import type { OpContext } from "../base/op-context.ts";
import type { DiskFormat } from "../disks/virtual-disks.ts";
import { mkdir, rename, rm } from "../host/files.ts";
import type { MachineParts } from "./parts.ts";

/** On the file system of the machines' disks: its disposal removes what was not moved away. */
export interface TakenDisk extends AsyncDisposable {
  readonly file: string;
  readonly format: DiskFormat;
  /** Bytes that a machine sees. */
  readonly virtualSize: number;
}

const importsDir = (dataRoot: string) => join(dataRoot, "machines", "imports");

/** `DISK_NOT_FOUND`, and what is wrong with the file (see `VirtualDisks.inspect`). */
export async function takeDisk(
  { disks, dataRoot }: Pick<MachineParts, "disks" | "dataRoot">,
  ctx: OpContext,
  source: string,
): Promise<TakenDisk> {
  const file = join(importsDir(dataRoot), newId());
  await mkdir(importsDir(dataRoot), { recursive: true, mode: 0o700 });
  const remove = () => rm(file, { force: true });
  try {
    await disks.take(ctx, source, file);
    const { format, virtualSize } = await disks.inspect(ctx, file, { name: source });
    return { file, format, virtualSize, [Symbol.asyncDispose]: remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Makes it the qcow2 disk `target`, of `size` bytes. */
export async function moveDisk(
  { disks }: Pick<MachineParts, "disks">,
  ctx: OpContext,
  { file, format, virtualSize }: TakenDisk,
  target: string,
  size: number,
): Promise<void> {
  if (format === "qcow2") await rename(file, target);
  else await disks.convert(ctx, { source: { file, format }, target, format: "qcow2" });
  if (size > virtualSize) await disks.resize(ctx, { file: target, format: "qcow2" }, size);
}

/** What a killed engine had taken. */
export async function removeTakenDisks({ dataRoot }: Pick<MachineParts, "dataRoot">): Promise<void> {
  await rm(importsDir(dataRoot), { recursive: true, force: true });
}

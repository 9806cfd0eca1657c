/**
 * Read-only disks under machines' own, one for each image: shared by all that are made from it, and of no image's layers once made, so
 * that an image can go while machines stand on it. One that no machine needs is removed.
 */
import { existsSync } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { OpContext } from "../base/op-context.ts";
import type { ProgressSink } from "../base/progress.ts";
import type { DiskImage, VirtualDisks } from "../disks/virtual-disks.ts";
import { mkdir, rename, rm } from "../host/files.ts";
import type { ImageService } from "../images/image-service.ts";
import { basesDir } from "../instances/machine/layout.ts";
import type { ImageRecord } from "../schema/image.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import { machineRoomErrors } from "./errors.ts";

export interface BasesOptions {
  readonly dataRoot: string;
  readonly disks: VirtualDisks;
  readonly images: Pick<ImageService, "unpack">;
  readonly snapshotter: Pick<Snapshotter, "view">;
  readonly instances: () => readonly InstanceRecord[];
}

/** A base in use by whoever has it, until it is disposed: a machine in the making has no record yet. */
export interface HeldBase extends Disposable {
  /** Its name in the directory of bases. */
  readonly file: string;
  readonly image: DiskImage;
  /** Bytes that a machine sees. */
  readonly virtualSize: number;
}

export class Bases {
  readonly #options: BasesOptions;
  readonly #making = new KeyedMutex();
  /** By digest. */
  readonly #held = new Map<string, number>();

  constructor(options: BasesOptions) {
    this.#options = options;
  }

  /** The disk in an image, which is a containerDisk: `/disk/<name>`. `IMAGE_HAS_NO_DISK`, `IMAGE_HAS_DISKS`, and what is wrong with the file. */
  async ofImage(ctx: OpContext, image: ImageRecord, name: string, progress: ProgressSink): Promise<HeldBase> {
    const { images, snapshotter, disks } = this.#options;
    const chainId = await images.unpack(ctx, image, progress);
    // Digest of all that is in the image, and so of its disk.
    const digest = chainId.replace(/^sha256:/, "");
    return await this.#making.run(digest, async () => {
      for (const format of ["qcow2", "raw"] as const) {
        if (existsSync(this.#path(`${digest}.${format}`))) return await this.#hold(ctx, `${digest}.${format}`, format);
      }
      await using view = await snapshotter.view(ctx, chainId);
      const source = await diskIn(view.root, name);
      progress({ status: `Copying the disk of ${name}` });
      using _taking = this.#keep(digest);
      const taken = this.#path(`${digest}.taken`);
      await mkdir(basesDir(this.#options.dataRoot), { recursive: true, mode: 0o700 });
      await rm(taken, { force: true });
      try {
        // Looked at as a file of ours.
        await disks.take(ctx, source, taken);
        const { format } = await disks.inspect(ctx, taken, { name: `${name}:${source.slice(view.root.length)}` });
        if (format !== "qcow2" && format !== "raw") throw machineRoomErrors.IMAGE_HAS_NO_DISK({ image: name });
        await rename(taken, this.#path(`${digest}.${format}`));
        return await this.#hold(ctx, `${digest}.${format}`, format);
      } finally {
        await rm(taken, { force: true });
      }
    });
  }

  hasAny(): boolean {
    return existsSync(basesDir(this.#options.dataRoot));
  }

  /** Keeps a base that is being made until a machine's record has it. */
  hold(file: string): Disposable {
    return this.#keep(stem(file));
  }

  /** Removes what no machine needs, and what a killed engine left half made. */
  async collect(): Promise<void> {
    const directory = basesDir(this.#options.dataRoot);
    const needed = new Set(
      this.#options.instances().flatMap(({ spec }) => spec.machine?.disks.map(({ base }) => base) ?? []),
    );
    for (const file of existsSync(directory) ? await readdir(directory) : []) {
      if (!needed.has(file) && !this.#held.has(stem(file))) await rm(join(directory, file), { force: true });
    }
  }

  #path(file: string): string {
    return join(basesDir(this.#options.dataRoot), file);
  }

  async #hold(ctx: OpContext, file: string, format: "qcow2" | "raw"): Promise<HeldBase> {
    const held = this.#keep(stem(file));
    try {
      const { virtualSize } = await this.#options.disks.inspect(ctx, this.#path(file), { format });
      return {
        file,
        image: { file: this.#path(file), format },
        virtualSize,
        [Symbol.dispose]: () => held[Symbol.dispose](),
      };
    } catch (error) {
      held[Symbol.dispose]();
      throw error;
    }
  }

  #keep(digest: string): Disposable {
    this.#held.set(digest, (this.#held.get(digest) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        const left = (this.#held.get(digest) ?? 1) - 1;
        if (left === 0) this.#held.delete(digest);
        else this.#held.set(digest, left);
      },
    };
  }
}

/** The digest in the name of a base, and of what becomes one. */
const stem = (file: string) => file.split(".", 1)[0] ?? file;

/** No link is followed: what an image has is anybody's. */
async function diskIn(root: string, image: string): Promise<string> {
  const directory = join(root, "disk");
  const isDirectory = await lstat(directory).then(
    (stat) => stat.isDirectory(),
    () => false,
  );
  const entries = isDirectory ? await readdir(directory, { withFileTypes: true }) : [];
  const found = entries
    .filter((entry) => entry.isFile() && /\.(qcow2|img|raw)$/.test(entry.name))
    .map(({ name }) => name);
  const [only, ...others] = found;
  if (only === undefined) throw machineRoomErrors.IMAGE_HAS_NO_DISK({ image });
  if (others.length > 0) throw machineRoomErrors.IMAGE_HAS_DISKS({ image, disks: found });
  return join(directory, only);
}

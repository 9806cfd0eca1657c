/** Disks of machines as images: made of a distribution, of another image's files, or of a disk file. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { randomUUID } from "node:crypto";
import type { ConfinedRoots } from "../archive/confined-root.ts";
import { isBerthError } from "../base/errors.ts";
import { newId } from "../base/ids.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import { cleanupContext, type OpContext } from "../base/op-context.ts";
import { noProgress, type ProgressSink } from "../base/progress.ts";
import type { VirtualDisks } from "../disks/virtual-disks.ts";
import { guestErrors } from "../guest/errors.ts";
import { mkdir, rm } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import { namesRelease, releaseOf } from "../images/bootstrap/distribution.ts";
import type { ImageService } from "../images/image-service.ts";
import {
  DEFAULT_DOMAIN,
  formatFamiliar,
  formatReference,
  parseReference,
  withDefaultTag,
} from "../images/reference.ts";
import type { ImageRecord } from "../schema/image.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import { hasDiskFile, isMachineDisk, storeContainerDisk } from "./container-disk.ts";
import { distributionPackages } from "./distribution-packages.ts";
import { osImageErrors } from "./errors.ts";
import { prepareRoot } from "./prepare-root.ts";
import { leastSize, measureTree, writeRawDisk } from "./raw-disk.ts";

export interface MachineImagesOptions {
  readonly host: Pick<Host, "processes" | "facts">;
  readonly images: Pick<
    ImageService,
    "resolve" | "list" | "unpack" | "keep" | "pull" | "bootstrap" | "import" | "remove"
  >;
  readonly snapshotter: Snapshotter;
  readonly roots: ConfinedRoots;
  readonly disks: VirtualDisks;
  /** A directory of the engine's own on the data root; made when missing. */
  readonly root: string;
  /** Path of a package with Debian's cloud kernel, fetched when it is not there. */
  readonly kernelPackage: (ctx: OpContext, progress: ProgressSink) => Promise<string>;
  /** The static program that guest/build.sh makes for machines' disks. */
  readonly osinit: string;
}

export interface BuildMachineImage {
  /** An image that is here, or a distribution's release: "debian:bookworm". */
  readonly source: string;
  /** What people are told that it is made of; the source by default. */
  readonly label?: string;
  /** Name of the result; `machine/<source>` by default. */
  readonly tag?: string;
  /** Bytes of the disk, rounded up to MiB. */
  readonly size?: number;
  /**
   * What the source is. Unless given, a release by its usual name (debian:bookworm) is the distribution's, whatever base image of
   * that name is here; everything else is an image where there is one.
   */
  readonly from?: "image" | "distribution";
  /** Distribution: further packages, and its mirror. */
  readonly packages?: readonly string[];
  readonly mirror?: string;
}

export interface ImportMachineDisk {
  readonly disk: Readable;
  /** The file's name, for messages and for the label. */
  readonly name: string;
  readonly tag: string;
  readonly size?: number;
}

const MiB = 1024 * 1024;
/** Bytes of a disk without a wish. Sparse: what is not used takes no room. */
export const usualSize = 4 * 1024 * MiB;
const prefix = "os-image-";
/** Repository of a distribution's files on their way into a disk. */
const treeRepository = "berth-os-tree";

export class MachineImages {
  readonly #options: MachineImagesOptions;
  readonly #making = new KeyedMutex();

  constructor(options: MachineImagesOptions) {
    this.#options = options;
  }

  /** At start: removes what a killed engine left half made. */
  async recover(ctx: OpContext): Promise<void> {
    const { root, snapshotter, images } = this.#options;
    for (const name of existsSync(root) ? await readdir(root) : []) {
      await rm(join(root, name), { recursive: true, force: true });
    }
    for (const id of await snapshotter.list()) if (id.startsWith(prefix)) await snapshotter.remove(ctx, id);
    for (const { tags } of images.list()) {
      for (const tag of tags) {
        if (parseReference(tag).path === `library/${treeRepository}`) {
          await images.remove(ctx, tag, { force: false, noPrune: false });
        }
      }
    }
  }

  /**
   * The image with a machine's disk that `name` means: `machine/NAME`, else NAME itself where it is one, else one that is made of the
   * distribution NAME or the image NAME, and tagged `machine/NAME`. One that names its registry is pulled when it is not here.
   * `OS_SOURCE_UNKNOWN`.
   */
  async ensure(ctx: OpContext, name: string, progress: ProgressSink = noProgress): Promise<ImageRecord> {
    const here = await this.#find(ctx, name);
    if (here !== undefined) return here;
    const isElsewhere = parseReference(name).domain !== DEFAULT_DOMAIN && this.#image(name) === undefined;
    const pulled = isElsewhere ? await this.#options.images.pull(ctx, { reference: name }, progress) : undefined;
    if (pulled !== undefined && (await this.#hasDisk(ctx, pulled))) return pulled;
    return await this.build(ctx, { source: name }, progress);
  }

  /** Makes a bootable disk of a distribution or an image, as an image. One of the same name loses it. */
  async build(ctx: OpContext, request: BuildMachineImage, progress: ProgressSink = noProgress): Promise<ImageRecord> {
    const tag = withDefaultTag(parseReference(request.tag ?? machineName(request.source)));
    return await this.#making.run(formatReference(tag), async () => {
      const image = isDistribution(request) ? undefined : this.#image(request.source);
      if (image !== undefined) {
        const source = request.label ?? request.source;
        if (await this.#hasDisk(ctx, image)) throw osImageErrors.OS_SOURCE_IS_A_DISK({ source });
        using _kept = await this.#options.images.keep(image.id);
        return await this.#makeOf(ctx, image, { ...request, source, tag: formatFamiliar(tag), fresh: false }, progress);
      }
      if (request.from === "image") return this.#options.images.resolve(request.source);
      return await this.#makeOfDistribution(ctx, { ...request, tag: formatFamiliar(tag) }, progress);
    });
  }

  /** An image of a disk file of any format that can be read. What is wrong with it is said by name, and nothing is kept. */
  async fromDisk(
    ctx: OpContext,
    request: ImportMachineDisk,
    progress: ProgressSink = noProgress,
  ): Promise<ImageRecord> {
    const { disks, images } = this.#options;
    const { name, size, tag } = request;
    parseReference(tag);
    return await this.#inWorkDirectory(ctx, async (directory) => {
      const given = join(directory, "given");
      progress({ id: "disk", status: "Receiving the disk" });
      await disks.receive(ctx, request.disk, given, Number.MAX_SAFE_INTEGER);
      const { format, virtualSize } = await disks.inspect(ctx, given, { name });
      const file = join(directory, "disk.qcow2");
      await disks.convert(ctx, { source: { file: given, format }, target: file, format: "qcow2", name });
      if (size !== undefined) await disks.resize(ctx, { file, format: "qcow2" }, wholeMiB(size));
      progress({ id: "disk", status: "Storing the image" });
      const disk = {
        file,
        source: name,
        reference: tag,
        virtualSize: size === undefined ? virtualSize : wholeMiB(size),
      };
      return await storeContainerDisk(ctx, images, disk, progress);
    });
  }

  async #find(ctx: OpContext, name: string): Promise<ImageRecord | undefined> {
    const made = this.#image(machineName(name));
    if (made !== undefined) return made;
    const image = this.#image(name);
    return image !== undefined && (await this.#hasDisk(ctx, image)) ? image : undefined;
  }

  /** Whether it is a disk made here, or a foreign containerDisk, which says so by its files alone. */
  async #hasDisk(ctx: OpContext, image: ImageRecord): Promise<boolean> {
    if (isMachineDisk(image)) return true;
    const { images, snapshotter, roots } = this.#options;
    await using view = await snapshotter.view(ctx, await images.unpack(ctx, image));
    await using root = await roots.open(ctx, view.root);
    return await hasDiskFile(ctx, root);
  }

  #image(name: string): ImageRecord | undefined {
    try {
      return this.#options.images.resolve(name);
    } catch (error) {
      if (isBerthError(error, "IMAGE_NOT_FOUND") || isBerthError(error, "IMAGE_REFERENCE_INVALID")) return undefined;
      throw error;
    }
  }

  async #makeOfDistribution(
    ctx: OpContext,
    request: BuildMachineImage & { readonly tag: string },
    progress: ProgressSink,
  ): Promise<ImageRecord> {
    const { images, host } = this.#options;
    const release = releaseIn(request.source);
    const reference = `${treeRepository}:${newId().slice(0, 12)}`;
    try {
      const tree = await images.bootstrap(
        ctx,
        {
          reference: request.source,
          as: reference,
          include: [...distributionPackages(release, host.facts.architecture), ...(request.packages ?? [])],
          ...(request.mirror === undefined ? {} : { mirror: request.mirror }),
        },
        progress,
      );
      return await this.#makeOf(ctx, tree, { ...request, fresh: true }, progress);
    } finally {
      if (this.#image(reference) !== undefined) {
        await images.remove(cleanupContext(ctx), reference, { force: false, noPrune: false });
      }
    }
  }

  async #makeOf(
    ctx: OpContext,
    image: ImageRecord,
    request: { readonly source: string; readonly tag: string; readonly size?: number; readonly fresh: boolean },
    progress: ProgressSink,
  ): Promise<ImageRecord> {
    const { host, images, snapshotter, roots, disks } = this.#options;
    const { source, fresh } = request;
    const architecture = image.config.architecture;
    if (architecture !== "amd64") throw osImageErrors.OS_ARCHITECTURE_UNSUPPORTED({ name: source, architecture });
    const chainId = await images.unpack(ctx, image, progress);
    const osinit = await this.#readOsinit();
    return await this.#inWorkDirectory(ctx, async (directory, id) => {
      await using _snapshot = { [Symbol.asyncDispose]: () => snapshotter.remove(cleanupContext(ctx), id) };
      await snapshotter.prepare(ctx, id, chainId, { durable: false });
      const tree = await snapshotter.mount(ctx, id, { volatile: true });
      const rootUuid = randomUUID();
      progress({ id: "disk", status: "Adding what a machine needs" });
      {
        await using root = await roots.open(ctx, tree);
        const kernelPackage = async () => await this.#options.kernelPackage(ctx, progress);
        const config = image.config.config ?? {};
        const request = { source, rootUuid, osinit, fresh, config, kernelPackage, directory };
        await prepareRoot(ctx, { host, roots }, root, request);
      }
      progress({ id: "disk", status: "Making the disk" });
      const size = await measureTree(ctx, host, tree);
      const virtualSize = wholeMiB(request.size ?? Math.max(usualSize, leastSize(size)));
      const raw = join(directory, "disk.raw");
      await writeRawDisk(ctx, host, { tree, size, rootUuid, file: raw, directory, virtualSize });
      const file = join(directory, "disk.qcow2");
      await disks.convert(ctx, { source: { file: raw, format: "raw" }, target: file, format: "qcow2" });
      progress({ id: "disk", status: "Storing the image" });
      return await storeContainerDisk(ctx, images, { file, virtualSize, reference: request.tag, source }, progress);
    });
  }

  async #inWorkDirectory<T>(ctx: OpContext, work: (directory: string, id: string) => Promise<T>): Promise<T> {
    const id = `${prefix}${newId().slice(0, 12)}`;
    const directory = join(this.#options.root, id);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      return await work(directory, id);
    } finally {
      await rm(directory, { recursive: true, force: true });
      ctx.log.debug({ directory }, "machine image: work directory removed");
    }
  }

  async #readOsinit(): Promise<Uint8Array> {
    const { osinit } = this.#options;
    if (!existsSync(osinit)) throw guestErrors.GUEST_BINARY_MISSING({ path: osinit });
    return await readFile(osinit);
  }
}

/** "debian:bookworm" -> "machine/debian:bookworm". */
export function machineName(source: string): string {
  const { domain, ...rest } = parseReference(source);
  // A repository's path has no colon: a registry's port gets a dash.
  const familiar = formatFamiliar({ domain, ...rest }).replace(/@.*$/, "");
  return `machine/${domain === DEFAULT_DOMAIN ? familiar : familiar.replace(domain, domain.replaceAll(/[:[\]]+/g, "-"))}`;
}

function isDistribution({ source, from }: BuildMachineImage): boolean {
  return from === "distribution" || (from === undefined && namesRelease(withDefaultTag(parseReference(source))));
}

function releaseIn(source: string) {
  try {
    return releaseOf(withDefaultTag(parseReference(source)), undefined);
  } catch (error) {
    throw osImageErrors.OS_SOURCE_UNKNOWN({ source }, { cause: error });
  }
}

function wholeMiB(bytes: number): number {
  return Math.ceil(bytes / MiB) * MiB;
}

/** What machines are booted from, made when it is first needed: kernel and initrd, image disks, the blank disk; and whether KVM works. */
import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "../../base/logger.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { ProgressSink } from "../../base/progress.ts";
import { MachineDisks } from "../../guest/disks.ts";
import { askFileDaemon, type FileDaemon, fileDaemonProgram } from "../../guest/file-daemon.ts";
import { type GuestKit, GuestKits } from "../../guest/guest-kit.ts";
import { type Acceleration, probeKvm } from "../../guest/kvm-probe.ts";
import { Templates } from "../../guest/templates.ts";
import { rm } from "../../host/files.ts";
import type { Host } from "../../host/host.ts";
import type { Snapshotter } from "../../snapshots/snapshotter.ts";

export interface BootPartsOptions {
  readonly host: Host;
  readonly snapshotter: Pick<Snapshotter, "view" | "hasLayer">;
  /** Directory of the engine for all this, on the data root. */
  readonly root: string;
  /** Where guest/build.sh has put the agent, berth-vmm and the probe. */
  readonly binaries: string;
  /** A .deb of a Debian cloud kernel; "" downloads it. */
  readonly kernelPackage: string;
  /** Bytes that templates may take together. */
  readonly templateBytes: number;
  readonly log: Logger;
}

/** Virtual size of what an instance can write, MiB. Nothing of it is taken before it is written. */
const scratchMiB = 64 * 1024;

export class BootParts {
  readonly disks: MachineDisks;
  readonly templates: Templates;
  readonly #options: BootPartsOptions;
  readonly #kits: GuestKits;
  #fileDaemon: FileDaemon | undefined;
  #kit: Promise<GuestKit | undefined> | undefined;
  #acceleration: Promise<Acceleration> | undefined;

  constructor(options: BootPartsOptions) {
    this.#options = options;
    const { host, root, binaries, kernelPackage, templateBytes, log } = options;
    this.disks = new MachineDisks({ host, root });
    this.templates = new Templates({ root, maxBytes: templateBytes, log });
    this.#kits = new GuestKits({ host, root, agent: join(binaries, "agent"), kernelPackage });
  }

  get vmm(): string {
    return join(this.#options.binaries, "berth-vmm");
  }

  /** For the disks of machines that wait to be somebody's. */
  get waiting(): string {
    return join(this.#options.root, "waiting");
  }

  /** Names of what is not installed; none when machines can be run. */
  missing(): readonly string[] {
    return this.#missing(["mkfs.ext4", "debugfs"]);
  }

  /** Likewise for whole-OS machines, which bring their own kernel and file systems. */
  missingHardware(): readonly string[] {
    return this.#missing(["qemu-img"]);
  }

  #missing(tools: readonly string[]): readonly string[] {
    const { host } = this.#options;
    const programs = [`qemu-system-${host.facts.machine}`, ...tools];
    const absent = programs.filter((program) => host.processes.which(program) === undefined);
    return [
      ...absent.map((program) => `${program} is not installed`),
      ...(existsSync(this.vmm) ? [] : [`the guest's agent has not been built (${this.vmm})`]),
      ...(existsSync("/dev/net/tun") ? [] : ["there is no /dev/net/tun"]),
    ];
  }

  /**
   * At the engine's start: what no layer stands for any more, what was half made, and kernels of former engines but those that texts of
   * `inUse` have the paths of.
   */
  async collect(inUse: readonly string[]): Promise<void> {
    const isNeeded = (digest: string) => this.#options.snapshotter.hasLayer(`sha256:${digest}`);
    await rm(this.waiting, { recursive: true, force: true });
    await this.#kits.prune((digest) => inUse.some((text) => text.includes(`/kits/${digest}/`)));
    await this.disks.collect(isNeeded);
    await this.templates.collect(async (image) => image === "nothing" || (await isNeeded(image)));
  }

  /** What templates are held against; undefined where a kernel would have to be downloaded first. */
  async currentKit(): Promise<string | undefined> {
    return await this.#kits.currentDigest();
  }

  /** Where the disk of an image is, or would be. */
  imagePath(digest: string): string {
    return this.disks.imagePath(digest);
  }

  /** The layer has gone, and all images that end with it. */
  async forgetLayer(chainId: string): Promise<void> {
    await this.disks.removeImage(digestOf(chainId));
    await this.templates.removeImage(digestOf(chainId));
  }

  /** Bytes on the disk of all that machines are booted from: kernels, disks of images, templates. */
  async diskUsage(): Promise<number> {
    const entries = await readdir(this.#options.root, { recursive: true }).catch(() => []);
    const sizes = await Promise.all(
      // What goes meanwhile takes nothing.
      entries.map((name) =>
        stat(join(this.#options.root, name)).then(
          ({ blocks }) => blocks * 512,
          () => 0,
        ),
      ),
    );
    return sizes.reduce((sum, bytes) => sum + bytes, 0);
  }

  async kit(ctx: OpContext): Promise<GuestKit> {
    const made = await this.#kit;
    if (made !== undefined && existsSync(made.initrd)) return made;
    const making = this.#kits.get(ctx, logged(ctx));
    this.#kit = making.catch(() => undefined);
    return await making;
  }

  /** A .deb with the kernel; fetched when it is not there. */
  async kernelPackage(ctx: OpContext, progress: ProgressSink): Promise<string> {
    return await this.#kits.kernelPackage(ctx, progress);
  }

  async acceleration(ctx: OpContext): Promise<Acceleration> {
    const { host, root, binaries } = this.#options;
    this.#acceleration ??= probeKvm(ctx, { host, root, rom: join(binaries, "kvm-probe.bin") }).catch(
      (error: unknown) => {
        this.#acceleration = undefined;
        throw error;
      },
    );
    return await this.#acceleration;
  }

  /** What serves files of the host to a guest; undefined when it is not installed. */
  async fileDaemon(ctx: OpContext): Promise<FileDaemon | undefined> {
    const { host } = this.#options;
    const program = this.fileDaemonProgram();
    if (program === undefined) return undefined;
    if (this.#fileDaemon?.program !== program) this.#fileDaemon = await askFileDaemon(ctx, host, program);
    return this.#fileDaemon;
  }

  fileDaemonProgram(): string | undefined {
    return fileDaemonProgram(this.#options.host);
  }

  /** The disk of the image whose topmost layer this is. */
  async imageDisk(ctx: OpContext, chainId: string): Promise<string> {
    const digest = digestOf(chainId);
    if (this.disks.hasImage(digest)) return await this.disks.image(ctx, { digest, directory: "" });
    await using view = await this.#options.snapshotter.view(ctx, chainId);
    return await this.disks.image(ctx, { digest, directory: view.root }, logged(ctx));
  }

  async blankDisk(ctx: OpContext): Promise<string> {
    return await this.disks.blank(ctx, scratchMiB);
  }

  /** A scratch disk at `path` on which nothing was written yet. QEMU will see the blank disk at `backing`. */
  async scratchDisk(path: string, backing: string): Promise<void> {
    await this.disks.scratch(path, backing, scratchMiB);
  }
}

function digestOf(chainId: string): string {
  return chainId === "" ? "nothing" : chainId.replace(/^sha256:/, "");
}

/** Docker's API has no place for the progress of a start. */
function logged(ctx: OpContext): ProgressSink {
  return ({ id, status }) => ctx.log.info({ id }, status ?? "");
}

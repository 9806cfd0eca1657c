/**
 * What every machine boots from: the kernel and the initrd, in `<root>/kits/<digest of what they were made from>/`. Made on demand, once;
 * published by rename, so that a kit that is there is whole.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { newId } from "../base/ids.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { OpContext } from "../base/op-context.ts";
import { noProgress, type ProgressSink } from "../base/progress.ts";
import { mkdir, rename, rm, writeFile } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import { guestErrors } from "./errors.ts";
import { makeInitrd } from "./initrd.ts";
import { collectModules, diskModules, guestModules } from "./kernel-modules.ts";
import { downloadKernelPackage, unpackKernelPackage } from "./kernel-package.ts";
import { extractPvhKernel } from "./pvh-kernel.ts";

export interface GuestKit {
  /** Changes with the kernel, the modules, and the agent: part of a template's key. */
  readonly digest: string;
  readonly kernel: string;
  readonly initrd: string;
  /** The same with further file systems, for reading disks of operating systems. */
  readonly readerInitrd: string;
  readonly kernelVersion: string;
}

export interface GuestKitOptions {
  readonly host: Pick<Host, "processes" | "facts">;
  /** The engine's own directory for this, on the data root. */
  readonly root: string;
  /** The agent's static binary. */
  readonly agent: string;
  /** A .deb of a cloud kernel to use; "" takes the one that set-up has put beside the agent, and where there is none downloads it. */
  readonly kernelPackage: string;
}

/** Raised when the making of a kit changes, so that old ones are not taken. */
const recipe = 2;

export class GuestKits {
  readonly #options: GuestKitOptions;
  readonly #making = new KeyedMutex();

  constructor(options: GuestKitOptions) {
    this.#options = options;
  }

  /** The kit for the agent as it is now. Downloads nothing when the kernel's package is there. */
  async get(ctx: OpContext, progress: ProgressSink = noProgress): Promise<GuestKit> {
    return await this.#making.run("kit", () => this.#get(ctx, progress));
  }

  /** The digest of what {@link get} would give, where nothing has to be downloaded for it. */
  async currentDigest(): Promise<string | undefined> {
    const file = await this.#packageThere();
    return file === undefined ? undefined : digestOf(file, await this.#readAgent());
  }

  /** Path of the kernel's package; fetched when it is not there. */
  async kernelPackage(ctx: OpContext, progress: ProgressSink = noProgress): Promise<string> {
    return await this.#making.run("kit", () => this.#package(ctx, progress));
  }

  /**
   * Removes kits that are neither the present one nor in use, and what a killed engine left half made. None of the former where the present one
   * would have to be downloaded: it may be there.
   */
  async prune(isInUse: (digest: string) => boolean): Promise<void> {
    const directory = join(this.#options.root, "kits");
    const names = existsSync(directory) ? await readdir(directory) : [];
    if (names.length === 0) return;
    const current = existsSync(this.#options.agent) ? await this.currentDigest() : undefined;
    for (const name of names) {
      const isOld = current !== undefined && name !== current && !isInUse(name);
      if (isOld || name.startsWith("draft-")) await rm(join(directory, name), { recursive: true, force: true });
    }
  }

  async #get(ctx: OpContext, progress: ProgressSink): Promise<GuestKit> {
    const agent = await this.#readAgent();
    const file = await this.#package(ctx, progress);
    const digest = digestOf(file, agent);
    const directory = join(this.#options.root, "kits", digest);
    const made = await readKit(directory, digest);
    if (made !== undefined) return made;
    progress({ id: "guest", status: "Preparing the guest's kernel" });
    await this.#make(ctx, file, agent, directory);
    const kit = await readKit(directory, digest);
    if (kit === undefined) throw guestErrors.KERNEL_UNUSABLE({ reason: "it is gone again" });
    return kit;
  }

  async #make(ctx: OpContext, file: string, agent: Buffer, directory: string): Promise<void> {
    const draft = join(this.#options.root, "kits", `draft-${newId().slice(0, 12)}`);
    const tree = join(draft, "package");
    try {
      await mkdir(tree, { recursive: true, mode: 0o700 });
      const { image, modules, version } = await unpackKernelPackage(ctx, this.#options.host, file, tree);
      const kernel = await extractPvhKernel(await readFile(image));
      const always = await collectModules(modules, guestModules);
      const names = new Set(always.map(({ name }) => name));
      const later = (await collectModules(modules, diskModules)).filter(({ name }) => !names.has(name));
      const initrd = makeInitrd(agent, always);
      await writeFile(join(draft, "kernel"), kernel, { mode: 0o444, flush: true });
      await writeFile(join(draft, "initrd"), initrd, { mode: 0o444, flush: true });
      await writeFile(join(draft, "reader-initrd"), makeInitrd(agent, always, later), { mode: 0o444, flush: true });
      await writeFile(join(draft, "version"), version, { flush: true });
      await rm(tree, { recursive: true });
      await rename(draft, directory);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }

  /** The kernel's package: the one that was named, else set-up's, else the one that was downloaded, else the newest. */
  async #package(ctx: OpContext, progress: ProgressSink): Promise<string> {
    const { root, host } = this.#options;
    const there = await this.#packageThere();
    if (there !== undefined) return there;
    const directory = join(root, "packages");
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const draft = join(root, `download-${newId().slice(0, 12)}`);
    try {
      await mkdir(draft, { recursive: true, mode: 0o700 });
      const file = await downloadKernelPackage(ctx, host, draft, progress);
      const published = join(directory, basename(file));
      await rename(file, published);
      return published;
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }

  async #packageThere(): Promise<string | undefined> {
    const { kernelPackage, root, agent } = this.#options;
    if (kernelPackage !== "") return kernelPackage;
    return (await packageIn(dirname(agent))) ?? (await packageIn(join(root, "packages")));
  }

  async #readAgent(): Promise<Buffer> {
    const { agent } = this.#options;
    if (!existsSync(agent)) throw guestErrors.GUEST_BINARY_MISSING({ path: agent });
    return await readFile(agent);
  }
}

function digestOf(kernelPackage: string, agent: Buffer): string {
  return createHash("sha256")
    .update(JSON.stringify([recipe, basename(kernelPackage), guestModules, diskModules]))
    .update(agent)
    .digest("hex");
}

async function packageIn(directory: string): Promise<string | undefined> {
  if (!existsSync(directory)) return undefined;
  const names = (await readdir(directory)).filter((name) => name.startsWith("linux-image-") && name.endsWith(".deb"));
  const newest = names.toSorted().at(-1);
  return newest === undefined ? undefined : join(directory, newest);
}

async function readKit(directory: string, digest: string): Promise<GuestKit | undefined> {
  const version = join(directory, "version");
  if (!existsSync(version)) return undefined;
  return {
    digest,
    kernel: join(directory, "kernel"),
    initrd: join(directory, "initrd"),
    readerInitrd: join(directory, "reader-initrd"),
    kernelVersion: await readFile(version, "utf8"),
  };
}

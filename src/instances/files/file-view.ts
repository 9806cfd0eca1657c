/**
 * An instance's files as its processes see them, from outside: its root with its binds and volumes over it. Nothing is
 * mounted for that; a path is walked here, one name at a time, and each name is looked up behind the wall of the directory
 * it falls into. A link that a process swaps under the walk leads at worst elsewhere inside the same wall.
 *
 * Not seen: tmpfs mounts, /proc, /sys and /dev, as with `docker cp`.
 */
import { realpath, stat } from "node:fs/promises";
import { posix } from "node:path";
import type { ConfinedRoot, FileStat } from "../../archive/confined-root.ts";
import { isBerthError } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { errnoOf } from "../../host/errors.ts";
import type { InstanceRecord, MountSpec } from "../../schema/instance.ts";
import { instanceErrors } from "../errors.ts";
import { isThrowAway, type Parts } from "../parts.ts";
import { isActive } from "../resolve.ts";
import { joinedInstance } from "../validate/namespaces.ts";
import { joinedNetwork } from "../namespaces.ts";
import { statIn, words } from "./resolve-in-root.ts";

/** As the kernel's. */
const maxLinks = 40;

/** A directory of the host that is mounted somewhere in the instance, or holds the file that is. */
interface Layer {
  /** In the instance; "/" for the root itself. */
  readonly target: string;
  readonly hostDir: string;
  /** What is mounted, inside `hostDir`: "/" or "/<name of the file>". */
  readonly base: string;
  readonly readOnly: boolean;
}

export interface Place {
  /** In the instance, free of links up to (unless followed) its last name. */
  readonly path: string;
  readonly root: ConfinedRoot;
  /** The same file inside `root`. */
  readonly inRoot: string;
  readonly stat: FileStat;
  /** "volume" or "rootfs" when it lies on what is mounted read-only. */
  readonly readOnly: "volume" | "rootfs" | undefined;
}

export class FileView implements AsyncDisposable {
  readonly #parts: Parts;
  readonly #record: InstanceRecord;
  /** Outermost first. */
  readonly #layers: Layer[] = [];
  readonly #roots = new Map<string, Promise<ConfinedRoot>>();
  readonly #held: ((ctx: OpContext) => Promise<void>)[] = [];

  private constructor(parts: Parts, record: InstanceRecord) {
    this.#parts = parts;
    this.#record = record;
  }

  /** Mounts what is needed until the view is disposed of. */
  static async open(ctx: OpContext, parts: Parts, record: InstanceRecord): Promise<FileView> {
    const view = new FileView(parts, record);
    try {
      await view.#openLayers(ctx);
      return view;
    } catch (error) {
      await view[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The file at `path`; undefined when there is none. A final link is followed only when asked. */
  async find(ctx: OpContext, path: string, options: { readonly follow: boolean }): Promise<Place | undefined> {
    let pending = words(path);
    let at = "/";
    let links = 0;
    for (let word = pending.shift(); word !== undefined; word = pending.shift()) {
      if (word === "..") {
        at = posix.dirname(at);
        continue;
      }
      const next = posix.join(at, word);
      const place = await this.#at(ctx, next);
      if (place === undefined) return undefined;
      const isLast = pending.length === 0;
      if (place.stat.kind === "symlink" && (!isLast || options.follow)) {
        if (++links > maxLinks) throw instanceErrors.TOO_MANY_LINKS({ path });
        if (place.stat.linkTarget.startsWith("/")) at = "/";
        pending = [...words(place.stat.linkTarget), ...pending];
        continue;
      }
      if (!isLast && place.stat.kind !== "directory") return undefined;
      at = next;
    }
    return await this.#at(ctx, at);
  }

  /** Where a link leads in the end, or as far as it goes. */
  async linkTarget(ctx: OpContext, place: Place): Promise<string> {
    const target = posix.resolve(posix.dirname(place.path), place.stat.linkTarget);
    return (await this.find(ctx, target, { follow: true }))?.path ?? target;
  }

  /** What is mounted below `path`, as places, outermost first. */
  async mountedBelow(ctx: OpContext, path: string): Promise<readonly Place[]> {
    const prefix = path === "/" ? "/" : `${path}/`;
    const below = this.#layers.filter(({ target }) => target !== "/" && target.startsWith(prefix));
    const places: Place[] = [];
    for (const { target } of below) {
      const place = await this.#at(ctx, target);
      if (place !== undefined) places.push(place);
    }
    return places;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ctx: OpContext = { signal: AbortSignal.timeout(30_000), log: this.#parts.log };
    // Each of them, whatever the others do: what is held first is given back last.
    await using all = new AsyncDisposableStack();
    for (const release of this.#held) all.defer(() => release(ctx));
    for (const opened of await Promise.allSettled(this.#roots.values())) {
      // Who asked for one that could not be opened has been told.
      if (opened.status === "fulfilled") all.use(opened.value);
    }
  }

  async #at(ctx: OpContext, path: string): Promise<Place | undefined> {
    const layer = this.#layerOf(path);
    if (layer === undefined) return undefined;
    const inside = layer.target === "/" ? path : path.slice(layer.target.length);
    const inRoot = posix.join(layer.base, inside);
    const root = await this.#rootOf(ctx, layer);
    if (root === undefined) return await this.#at(ctx, path);
    const found = await statIn(ctx, root, inRoot);
    if (found === undefined) return undefined;
    const readOnly = layer.readOnly ? (layer.target === "/" ? "rootfs" : "volume") : undefined;
    return { path, root, inRoot, stat: { ...found, name: posix.basename(path) }, readOnly };
  }

  #layerOf(path: string): Layer | undefined {
    return this.#layers.findLast(({ target }) => target === "/" || path === target || path.startsWith(`${target}/`));
  }

  /** Undefined when the instance ended meanwhile and what was mounted (its network's files) went with its run: then it is no layer. */
  async #rootOf(ctx: OpContext, layer: Layer): Promise<ConfinedRoot | undefined> {
    try {
      return await this.#root(ctx, layer.hostDir);
    } catch (error) {
      const isGone = isBerthError(error, "CONFINEMENT_FAILED") && errnoOf(error.cause) === "ENOENT";
      if (!isGone || layer.target === "/") throw error;
      this.#layers.splice(this.#layers.indexOf(layer), 1);
      return undefined;
    }
  }

  #root(ctx: OpContext, hostDir: string): Promise<ConfinedRoot> {
    const known = this.#roots.get(hostDir);
    if (known !== undefined) return known;
    const opened = this.#parts.roots.open(ctx, hostDir);
    this.#roots.set(hostDir, opened);
    // Not kept when it failed: disposing waits for all.
    opened.catch(() => this.#roots.delete(hostDir));
    return opened;
  }

  async #openLayers(ctx: OpContext): Promise<void> {
    const { id, spec } = this.#record;
    const rootfs = await this.#parts.rootMounts.hold(ctx, id, { volatile: isThrowAway(spec) });
    this.#held.push((ctx) => this.#parts.rootMounts.release(ctx, id));
    this.#layers.push({ target: "/", hostDir: rootfs, base: "/", readOnly: spec.security.readonlyRootfs });
    const sources = [...this.#networkFiles()];
    for (const mount of spec.mounts) {
      const hostPath = await this.#hostPath(ctx, mount);
      if (hostPath !== undefined) {
        sources.push({ target: mount.target, hostPath, readOnly: mount.type !== "tmpfs" && mount.readOnly });
      }
    }
    sources.sort((a, b) => words(a.target).length - words(b.target).length);
    for (const { target, hostPath, readOnly } of sources) {
      const real = await realpath(hostPath).catch(() => undefined);
      const found = real === undefined ? undefined : await stat(real).catch(() => undefined);
      if (real === undefined || found === undefined) continue;
      const seen = await this.#mountPoint(ctx, target);
      await this.#makeParents(ctx, seen);
      this.#layers.push(
        found.isDirectory()
          ? { target: seen, hostDir: real, base: "/", readOnly }
          : { target: seen, hostDir: posix.dirname(real), base: `/${posix.basename(real)}`, readOnly },
      );
    }
  }

  /** Where the runtime mounts or will mount it: a target may lie behind links of the image (/var/run), and not exist yet. */
  async #mountPoint(ctx: OpContext, target: string): Promise<string> {
    const found = await this.find(ctx, target, { follow: true });
    if (found !== undefined || target === "/") return found?.path ?? "/";
    return posix.join(await this.#mountPoint(ctx, posix.dirname(target)), posix.basename(target));
  }

  /** Before the first start nobody has made the directories above a mount point: as in Docker, looking does. */
  async #makeParents(ctx: OpContext, mountPoint: string): Promise<void> {
    const parent = posix.dirname(mountPoint);
    if (isActive(this.#record) || (await this.#at(ctx, parent)) !== undefined) return;
    const layer = this.#layerOf(parent);
    if (layer === undefined || (layer.readOnly && layer.target !== "/")) return;
    const root = await this.#root(ctx, layer.hostDir);
    const inside = posix.join(layer.base, posix.relative(layer.target, parent));
    await root.makeDirectories(ctx, inside, { mode: 0o755, uid: 0, gid: 0 });
  }

  *#networkFiles(): Generator<{ target: string; hostPath: string; readOnly: boolean }> {
    const { id, spec } = this.#record;
    if (!isActive(this.#record)) return;
    const { mode } = spec.network;
    const files =
      joinedInstance(mode) === undefined ? this.#parts.networks.sandbox(id) : joinedNetwork(this.#parts, mode).files;
    if (files === undefined) return;
    const readOnly = spec.security.readonlyRootfs;
    yield { target: "/etc/resolv.conf", hostPath: files.resolvConfPath, readOnly };
    yield { target: "/etc/hosts", hostPath: files.hostsPath, readOnly };
    yield { target: "/etc/hostname", hostPath: files.hostnamePath, readOnly };
  }

  async #hostPath(ctx: OpContext, mount: MountSpec): Promise<string | undefined> {
    switch (mount.type) {
      case "bind":
        return mount.source;
      case "tmpfs":
        return undefined;
      case "volume":
        return posix.join(await this.#volumeDir(ctx, mount.name), mount.subpath ?? "");
    }
  }

  /** A volume of its own device is mounted only while somebody holds it. */
  async #volumeDir(ctx: OpContext, name: string): Promise<string> {
    const { mountpoint, options } = this.#parts.volumes.require(name);
    if (options["device"] === undefined) return mountpoint;
    const holder = `files-of-${this.#record.id}`;
    const source = await this.#parts.volumes.mount(ctx, name, holder);
    this.#held.push((ctx) => this.#parts.volumes.unmount(ctx, name, holder));
    return source;
  }
}

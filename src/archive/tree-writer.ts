/**
 * Applies tar entries to a directory tree.
 *
 * INVARIANTS
 *  - Names that leave the tree are refused before anything of the entry is made; links that the archive made itself are
 *    followed only where they stay inside. (The wall around the thread holds even if this were wrong.)
 *  - A file that exists is never written into: it is replaced, so that its hard links keep their content.
 *  - `trusted.overlay.*` attributes are never taken from an archive.
 */
import { closeSync, ftruncateSync, writeSync } from "node:fs";
import { BerthError, messageOf } from "../base/errors.ts";
import type { CoveredPlace } from "./confined-root.ts";
import { cleanEntryName, cleanHardLinkTarget } from "./entry-name.ts";
import { archiveErrors } from "./errors.ts";
import { leadsOutside, walkDirectory } from "./path-walker.ts";
import { fromBinary, toBinary, type TarEntry, type TarTime } from "./tar-entry.ts";
import type { TarHandler } from "./tar-parser.ts";
import { errorCode, removeTree, type TreeFiles, type TreeStat } from "./tree-files.ts";
import { isOverlayXattr, OPAQUE_VALUE, OPAQUE_XATTR, parseWhiteout, type Whiteout } from "./whiteout.ts";

export interface TreeWriterOptions {
  /** Canonical path of the directory to unpack into, "" for the root; it exists. */
  readonly into: string;
  readonly semantics: "layer" | "plain";
  readonly chown?: { readonly uid: number; readonly gid: number };
  readonly chmod?: number;
  readonly noOverwriteDirNonDir?: boolean;
  readonly only?: string;
  readonly covered?: readonly CoveredPlace[];
}

/** At most so many notes about attributes that could not be set are kept. */
const MAX_NOTES = 20;

export class TreeWriter implements TarHandler, Disposable {
  readonly #files: TreeFiles;
  readonly #options: TreeWriterOptions;
  /** Parents that were resolved: name in the archive to canonical path. */
  readonly #parents = new Map<string, string>();
  /** Canonical paths of symbolic links and whiteouts that this archive made. */
  readonly #links = new Set<string>();
  readonly #whiteouts = new Set<string>();
  /** Set at the end: times, which every entry made inside changes; and setgid, which entries made inside would inherit. */
  readonly #directories = new Map<string, { readonly time: TarTime; readonly mode: number }>();
  readonly #notes: string[] = [];
  readonly #only: string;
  /** As in the options, in the tree's own encoding. */
  readonly #covered: readonly CoveredPlace[];
  #entry: TarEntry | undefined;
  #path = "";
  #fd: number | undefined;
  #size = 0;

  constructor(files: TreeFiles, options: TreeWriterOptions) {
    this.#files = files;
    this.#options = options;
    this.#only = toBinary(options.only ?? "");
    this.#covered = (options.covered ?? []).map((place) => ({ ...place, path: toBinary(place.path) }));
  }

  /** Logical bytes of the regular files that were written, and of the targets of symbolic links: what Docker counts. */
  get size(): number {
    return this.#size;
  }

  /** What could not be kept of entries, e.g. attributes that the file system does not know. */
  get notes(): readonly string[] {
    return this.#notes;
  }

  entry(entry: TarEntry): void {
    this.#entry = entry;
    this.#named(() => this.#begin(entry));
  }

  data(chunk: Buffer, position: number): void {
    const fd = this.#fd;
    if (fd === undefined) return;
    this.#named(() => {
      for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at, chunk.length - at, position + at);
    });
  }

  endEntry(): void {
    const entry = this.#entry;
    const fd = this.#fd;
    if (entry === undefined || fd === undefined) return;
    this.#named(() => {
      if (entry.sparse !== undefined) ftruncateSync(fd, entry.size);
      this.#setAttributes(entry, this.#path, fd);
      this.#files.setTimes(this.#path, entry.mtime, fd);
    });
    this.#size += entry.size;
    this[Symbol.dispose]();
  }

  /** All entries are applied: settles what had to wait. */
  finish(): void {
    this.#named(() => {
      for (const [path, { time, mode }] of [...this.#directories].toReversed()) {
        if ((mode & 0o7000) !== 0) this.#files.chmod(path, mode);
        this.#files.setTimes(path, time);
      }
    });
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #begin(entry: TarEntry): void {
    const name = this.#chosen(cleanEntryName(entry.name));
    if (name === undefined) return;
    if (name === "") {
      this.#top(entry);
      return;
    }
    const slash = name.lastIndexOf("/");
    const baseName = name.slice(slash + 1);
    const whiteout = this.#options.semantics === "layer" ? parseWhiteout(name, baseName) : undefined;
    if (whiteout?.kind === "ignore") return;
    // By its name first: what is beneath a mount point gets no parents in the directory that is hidden there.
    if (this.#isCovered(entry, name, `${this.#options.into}/${name}`)) return;
    const parent = this.#parent(slash === -1 ? "" : name.slice(0, slash));
    if (whiteout !== undefined) this.#whiteout(whiteout, parent);
    else if (!this.#isCovered(entry, name, `${parent}/${baseName}`)) this.#make(entry, name, `${parent}/${baseName}`);
  }

  /** The name below the directory that was asked for; undefined when the entry is elsewhere. */
  #chosen(name: string): string | undefined {
    if (this.#only === "") return name;
    if (name === this.#only) return "";
    return name.startsWith(`${this.#only}/`) ? name.slice(this.#only.length + 1) : undefined;
  }

  /** Whether an entry belongs to what is mounted over its place; refused where that can't take it. */
  #isCovered(entry: TarEntry, name: string, path: string): boolean {
    const at = this.#covered.find((place) => path === place.path || path.startsWith(`${place.path}/`));
    if (at === undefined) return false;
    const isMountPoint = path === at.path;
    if (isMountPoint && entry.type === "directory") return true;
    if (isMountPoint) throw this.#refused("its place is a mount point, device or resource busy");
    if (!at.takesMembers) throw this.#refused(`${fromBinary(at.path)} is mounted there, and can't be written to`);
    // The other extraction goes by names: it would not find this one.
    if (path !== `${this.#options.into}/${name}`) throw this.#refused("a link leads it into what is mounted there");
    return true;
  }

  /** The entry of the top directory itself: a layer may set its attributes, a plain archive leaves what is there. */
  #top(entry: TarEntry): void {
    if (entry.type !== "directory") throw this.#refused("it would replace the top directory");
    if (this.#options.semantics === "plain") return;
    this.#setAttributes(entry, this.#options.into, undefined, true);
    this.#directories.set(this.#options.into, { time: entry.mtime, mode: this.#mode(entry) });
  }

  #make(entry: TarEntry, name: string, path: string): void {
    this.#path = path;
    switch (entry.type) {
      case "file":
        this.#fd = this.#replacing(path, false, () => this.#files.create(path, this.#mode(entry) & 0o777));
        return; // attributes and time are set when the data is there
      case "directory":
        this.#directory(entry, name, path);
        return;
      case "hardlink": {
        const target = this.#hardLinkTarget(entry);
        if (target === path) return;
        this.#replacing(path, false, () => this.#files.link(target, path));
        return; // it shares the target's attributes
      }
      case "symlink":
        this.#replacing(path, false, () => this.#files.symlink(entry.linkName, path));
        this.#links.add(path);
        this.#size += entry.linkName.length;
        break;
      case "char":
      case "block":
      case "fifo": {
        const { type, deviceMajor, deviceMinor } = entry;
        const mode = this.#mode(entry);
        this.#replacing(path, false, () => this.#files.mknod(path, type, mode, deviceMajor, deviceMinor));
        break;
      }
    }
    this.#setAttributes(entry, path, undefined);
    this.#files.setTimes(path, entry.mtime);
  }

  #directory(entry: TarEntry, name: string, path: string): void {
    let made = true;
    try {
      this.#files.mkdir(path, this.#mode(entry) & 0o777);
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw error;
      if (this.#files.lstat(path)?.kind === "directory") made = false;
      else this.#replacing(path, true, () => this.#files.mkdir(path, this.#mode(entry) & 0o777));
    }
    // What the lower layers have there was whited out before: only an opaque directory keeps it hidden.
    if (this.#whiteouts.delete(path)) this.#files.setXattr(path, OPAQUE_XATTR, OPAQUE_VALUE);
    this.#setAttributes(entry, path, undefined, !made);
    this.#directories.delete(path);
    this.#directories.set(path, { time: entry.mtime, mode: this.#mode(entry) });
    this.#parents.set(name, path);
  }

  /** Runs `make`; when something is in the way, removes that and tries again. */
  #replacing<T>(path: string, directory: boolean, make: () => T): T {
    try {
      return make();
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw error;
    }
    const there = this.#files.lstat(path);
    if (this.#options.noOverwriteDirNonDir === true && there !== undefined) {
      if (directory) throw this.#refused(`cannot overwrite non-directory "${fromBinary(path)}" with a directory`);
      if (there.kind === "directory") {
        throw this.#refused(`cannot overwrite directory "${fromBinary(path)}" with a non-directory`);
      }
    }
    if (there !== undefined) this.#remove(path, there);
    return make();
  }

  #remove(path: string, stat: TreeStat): void {
    if (this.#covered.some((place) => place.path.startsWith(`${path}/`))) {
      throw this.#refused("a mount point is below what it would replace, device or resource busy");
    }
    removeTree(this.#files, path);
    this.#links.delete(path);
    if (stat.kind !== "directory" && stat.kind !== "symlink") return;
    // What was known about paths through it no longer holds.
    this.#parents.clear();
    for (const known of [this.#links, this.#whiteouts, this.#directories]) {
      for (const each of known.keys()) if (each === path || each.startsWith(`${path}/`)) known.delete(each);
    }
  }

  #whiteout(whiteout: Whiteout, parent: string): void {
    if (whiteout.kind === "opaque") {
      this.#files.setXattr(parent, OPAQUE_XATTR, OPAQUE_VALUE);
      return;
    }
    if (whiteout.kind !== "remove") return;
    const path = `${parent}/${whiteout.name}`;
    const there = this.#files.lstat(path);
    // A whiteout speaks of lower layers only: what this layer brought stays, and hides a lower directory by being opaque.
    if (there === undefined) {
      this.#files.mknod(path, "char", 0, 0, 0);
      this.#whiteouts.add(path);
    } else if (there.kind === "directory") {
      this.#files.setXattr(path, OPAQUE_XATTR, OPAQUE_VALUE);
    }
  }

  /** Canonical path of the directory that the archive calls `name`; missing ones are made. */
  #parent(name: string): string {
    if (name === "") return this.#options.into;
    const known = this.#parents.get(name);
    if (known !== undefined) return known;
    const path = walkDirectory(this.#files, this.#options.into, name, {
      onMissing: (missing) => this.#implied(missing),
      onLink: (link, target) => this.#judgeLink(link, target),
      onOther: (other) => {
        if (!this.#whiteouts.delete(other)) throw this.#refused(`its parent "${fromBinary(other)}" is not a directory`);
        this.#files.unlink(other);
        this.#implied(other);
        this.#files.setXattr(other, OPAQUE_XATTR, OPAQUE_VALUE);
        return true;
      },
    });
    this.#parents.set(name, path);
    return path;
  }

  #implied(path: string): void {
    this.#files.mkdir(path, 0o755);
    const { chown } = this.#options;
    if (chown !== undefined) this.#files.chown(path, chown.uid, chown.gid);
  }

  /** A link that was there before is the tree's own and is followed inside it; one of this archive must not lead out. */
  #judgeLink(link: string, target: string): void {
    if (this.#links.has(link) && leadsOutside(link.slice(this.#options.into.length), target)) {
      throw this.#refused(
        `it passes through the symbolic link "${fromBinary(link)}" -> "${fromBinary(target)}", which leads outside`,
      );
    }
  }

  #hardLinkTarget(entry: TarEntry): string {
    const target = this.#chosen(cleanHardLinkTarget(entry.name, entry.linkName));
    if (target === undefined)
      throw this.#refused(`its hard-link target "${fromBinary(entry.linkName)}" is on another mount`);
    const slash = target.lastIndexOf("/");
    const parent = walkDirectory(this.#files, this.#options.into, slash === -1 ? "" : target.slice(0, slash), {
      onLink: (link, to) => this.#judgeLink(link, to),
      onMissing: () => {
        throw this.#refused(`its hard-link target "${fromBinary(entry.linkName)}" does not exist`);
      },
    });
    const path = `${parent}/${target.slice(slash + 1)}`;
    const stat = this.#files.lstat(path);
    if (stat === undefined || this.#whiteouts.has(path)) {
      throw this.#refused(`its hard-link target "${fromBinary(entry.linkName)}" does not exist`);
    }
    if (stat.kind === "directory") throw this.#refused("its hard-link target is a directory");
    return path;
  }

  #mode(entry: TarEntry): number {
    return this.#options.chmod ?? entry.mode;
  }

  /** Owner, then mode (chown clears setuid), then attributes (chown and writing clear file capabilities). */
  #setAttributes(entry: TarEntry, path: string, fd: number | undefined, existed = false): void {
    const { uid, gid } = this.#options.chown ?? entry;
    // A layer's tree is our own and new: what is made in it is root's with its permission bits (the thread's umask is 0).
    const made = this.#options.semantics === "layer" && !existed;
    if (!made || uid !== 0 || gid !== 0) this.#files.chown(path, uid, gid, fd);
    if (entry.type === "directory") {
      if (!made) this.#files.chmod(path, this.#mode(entry) & 0o777);
    } else if (entry.type !== "symlink") {
      const mode = this.#mode(entry);
      if (!made || entry.type !== "file" || (mode & 0o7000) !== 0) this.#files.chmod(path, mode, fd);
    }
    for (const [name, value] of entry.xattrs) this.#setXattr(path, name, value);
  }

  #setXattr(path: string, name: string, value: Uint8Array): void {
    if (isOverlayXattr(name)) return this.#note(path, name, "belongs to overlayfs");
    try {
      this.#files.setXattr(path, name, value);
    } catch (error) {
      const code = errorCode(error);
      // A file system or file type without such attributes. File capabilities matter too much to be left out.
      const optional = code === "ENOTSUP" || (code === "EPERM" && name.startsWith("user."));
      if (!optional || name === "security.capability") throw error;
      this.#note(path, name, "is not supported there");
    }
  }

  #note(path: string, name: string, reason: string): void {
    if (this.#notes.length < MAX_NOTES) this.#notes.push(`${fromBinary(path)}: attribute ${name} ${reason}`);
  }

  #refused(reason: string): BerthError {
    return archiveErrors.ARCHIVE_ENTRY_REFUSED({ entry: fromBinary(this.#entry?.name ?? ""), reason });
  }

  /** Runs a step; an error of the file system becomes one that names the entry. */
  #named(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (error instanceof BerthError && !error.code.startsWith("PATH_")) throw error;
      const entry = fromBinary(this.#entry?.name ?? "");
      const code = errorCode(error);
      if (code === "ENAMETOOLONG") throw this.#refused("its name is too long");
      if (code === "EFBIG") throw this.#refused("its size is absurd");
      if (code === "ENOSPC" || code === "EDQUOT") throw archiveErrors.ARCHIVE_DISK_FULL({ entry }, { cause: error });
      if (error instanceof BerthError) throw this.#refused(error.message);
      throw archiveErrors.ARCHIVE_WRITE_FAILED({ entry, reason: messageOf(error) }, { cause: error });
    }
  }
}

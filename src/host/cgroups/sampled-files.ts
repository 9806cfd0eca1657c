import { closeSync, openSync, readSync } from "node:fs";
import { errnoAndText } from "../kernel/worker-failure.ts";

/** File descriptors that may be kept: what is beyond is opened for each reading. */
const maxOpen = 4000;

/**
 * Files of control groups that are read again and again, kept open: opening one costs four times what reading it does. The kernel makes
 * their text anew for each read from the beginning.
 */
export class SampledFiles {
  readonly #open = new Map<string, Map<string, number>>();
  readonly #buffer = Buffer.alloc(16 * 1024);
  #count = 0;

  /** Text of a file of `group`, without the final newline; undefined when it is not there. */
  read(group: string, path: string): string | undefined {
    const known = this.#open.get(group)?.get(path);
    try {
      if (known !== undefined) return this.#text(known);
      const fd = openSync(path, "r");
      try {
        return this.#text(fd);
      } finally {
        if (this.#count < maxOpen) this.#keep(group, path, fd);
        else closeSync(fd);
      }
    } catch (error) {
      const code = errnoAndText(error)?.errno;
      // ENODEV: the group has been removed.
      if (code === "ENOENT" || code === "ENODEV") return undefined;
      throw error;
    }
  }

  /** Closes the files of all other groups. */
  retain(groups: ReadonlySet<string>): void {
    for (const [group, files] of this.#open) {
      if (groups.has(group)) continue;
      for (const fd of files.values()) closeSync(fd);
      this.#count -= files.size;
      this.#open.delete(group);
    }
  }

  #keep(group: string, path: string, fd: number): void {
    const files = this.#open.get(group) ?? new Map<string, number>();
    files.set(path, fd);
    this.#open.set(group, files);
    this.#count++;
  }

  #text(fd: number): string {
    const length = readSync(fd, this.#buffer, 0, this.#buffer.length, 0);
    return this.#buffer.toString("latin1", 0, length).trimEnd();
  }
}

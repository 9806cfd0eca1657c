import { closeSync, open as openCallback } from "node:fs";
import { promisify } from "node:util";
import type { ChildFd } from "../host.ts";
import { bind, checked } from "../libc.ts";

const pipe2 = bind<(fds: Int32Array, flags: number) => number>("int pipe2(void *fds, int flags)");
const O_CLOEXEC = 0o2000000;
const openFile = promisify(openCallback);

/**
 * The descriptors of a child that is about to start: opened in our process, handed over, then closed here.
 * Dispose it after the start; until {@link release} the parents' ends of pipes are closed with the rest.
 */
export class ChildFds implements Disposable {
  /** Our descriptor for each of the child's; null is /dev/null. */
  readonly sources = new Map<number, number | null>();
  /** Our ends of pipes, by the child's descriptor number. */
  readonly #pipes: Record<number, number> = {};
  readonly #opened: number[] = [];
  #released = false;

  private constructor() {}

  static async open(fds: Readonly<Record<number, ChildFd>>): Promise<ChildFds> {
    const opened = new ChildFds();
    try {
      for (const fd of [0, 1, 2]) opened.sources.set(fd, null);
      for (const [number, fd] of Object.entries(fds)) await opened.#add(Number(number), fd);
      return opened;
    } catch (error) {
      opened[Symbol.dispose]();
      throw error;
    }
  }

  /** The child runs: the parent's ends of pipes now belong to the caller. */
  release(): Readonly<Record<number, number>> {
    this.#released = true;
    return this.#pipes;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#opened.splice(0)) closeSync(fd);
    if (!this.#released) for (const fd of Object.values(this.#pipes)) closeSync(fd);
    this.#released = true;
  }

  async #add(number: number, fd: ChildFd): Promise<void> {
    switch (fd.kind) {
      case "null":
        this.sources.set(number, null);
        return;
      case "fd":
        this.sources.set(number, fd.fd);
        return;
      case "append": {
        const opened = await openFile(fd.path, "a", 0o600);
        this.#opened.push(opened);
        this.sources.set(number, opened);
        return;
      }
      case "pipe": {
        const ends = new Int32Array(2);
        checked("pipe2", pipe2(ends, O_CLOEXEC));
        const [reading = -1, writing = -1] = ends;
        const [ours, theirs] = fd.parent === "reads" ? [reading, writing] : [writing, reading];
        this.#pipes[number] = ours;
        this.#opened.push(theirs);
        this.sources.set(number, theirs);
        return;
      }
    }
  }
}

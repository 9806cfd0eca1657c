import { closeSync, readFileSync, type Stats, statSync, writeSync } from "node:fs";
import { bind, checked } from "../libc.ts";
import { SyscallError } from "../syscall-error.ts";

const memfdCreate = bind<(name: string, flags: number) => number>(
  "int memfd_create(const char *name, unsigned int flags)",
);
const fcntl = bind<(fd: number, command: number, argument: number) => number>(
  "int fcntl(int fd, int command, long argument)",
);

const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
/** Since Linux 6.3; without it `vm.memfd_noexec` may forbid to execute what is in memory. */
const MFD_EXEC = 0x10;
const F_ADD_SEALS = 1033;
/** Neither its size, its content nor its seals can change any more. */
const allSeals = 0x1 | 0x2 | 0x4 | 0x8;

interface SealedCopy {
  readonly fd: number;
  /** The file that was copied, to notice that it has been replaced. */
  readonly of: Stats;
}

/** Copies of programs in memory that nothing can write to, each made when first asked for. */
export class SealedPrograms implements Disposable {
  readonly #copies = new Map<string, SealedCopy>();
  /** Every copy's descriptor, of programs since replaced too: someone may be about to execute one. */
  readonly #opened: number[] = [];

  /** Path of the copy of `program`, for other processes too; a program that was upgraded is copied anew. */
  path(program: string): string {
    const now = statSync(program);
    const known = this.#copies.get(program);
    if (known !== undefined && isSame(known.of, now)) return pathOf(known);
    const copy = { fd: sealedCopy(program), of: now };
    this.#copies.set(program, copy);
    this.#opened.push(copy.fd);
    return pathOf(copy);
  }

  [Symbol.dispose](): void {
    for (const fd of this.#opened.splice(0)) closeSync(fd);
    this.#copies.clear();
  }
}

function sealedCopy(program: string): number {
  const fd = newMemoryFile(program);
  try {
    const content = readFileSync(program);
    for (let at = 0; at < content.length; ) at += writeSync(fd, content, at);
    checked("fcntl", fcntl(fd, F_ADD_SEALS, allSeals));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function newMemoryFile(name: string): number {
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  try {
    return checked("memfd_create", memfdCreate(name, flags | MFD_EXEC));
  } catch (error) {
    if (!(error instanceof SyscallError && error.code === "EINVAL")) throw error;
    return checked("memfd_create", memfdCreate(name, flags));
  }
}

function isSame(one: Stats, other: Stats): boolean {
  return one.dev === other.dev && one.ino === other.ino && one.size === other.size && one.mtimeMs === other.mtimeMs;
}

function pathOf({ fd }: SealedCopy): string {
  return `/proc/${process.pid}/fd/${fd}`;
}

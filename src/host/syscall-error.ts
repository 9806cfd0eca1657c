import { constants } from "node:os";
import { getSystemErrorMap } from "node:util";

/** libuv's names and texts, which node:fs uses too; names of what libuv does not know come from the system. */
const known: ReadonlyMap<number, { readonly name: string; readonly text: string }> = new Map([
  ...Object.entries(constants.errno).map(([name, number]) => [number, { name, text: "failed" }] as const),
  ...[...getSystemErrorMap()].map(([number, [name, text]]) => [-number, { name, text }] as const),
]);

/** A system call that failed. Shaped as Node's own: `code` is the errno's name, `errno` the negative number. */
export class SyscallError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  /** What went wrong in words, without the name. */
  readonly text: string;

  /** `number` is the positive errno; `text` replaces the usual words for it. */
  constructor(syscall: string, number: number, text?: string) {
    const code = known.get(number)?.name ?? `errno ${number}`;
    const words = text ?? known.get(number)?.text ?? "unknown error";
    super(`${syscall}: ${code}: ${words}`);
    this.code = code;
    this.errno = -number;
    this.syscall = syscall;
    this.text = words;
  }
}

/** EINVAL for an argument that can't be encoded, as the kernel itself would answer. */
export function invalidArgument(text: string): SyscallError {
  return new SyscallError("", constants.errno.EINVAL, text);
}

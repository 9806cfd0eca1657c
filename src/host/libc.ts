/** Typed bindings to the C library. Each thread that imports this gets its own. */
import koffi, { type KoffiFunc } from "koffi";
import { SyscallError } from "./syscall-error.ts";

const library = koffi.load("libc.so.6");

/** A C function by its prototype; every one used here answers with a number. */
export function bind<F extends (...args: never[]) => number>(prototype: string): KoffiFunc<F> {
  return library.func(prototype) as unknown as KoffiFunc<F>;
}

/** The result of a system call that answers -1 and errno on failure. Call it at once: errno is the thread's last. */
export function checked(syscall: string, result: number): number {
  if (result < 0) throw new SyscallError(syscall, koffi.errno());
  return result;
}

/** errno of this thread's last failed call. */
export function lastErrno(): number {
  return koffi.errno();
}

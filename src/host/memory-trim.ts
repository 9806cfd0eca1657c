import { bind } from "./libc.ts";

const mallocTrim = bind<(keep: number) => number>("int malloc_trim(size_t pad)");

/**
 * Gives the pages that malloc holds free back to the kernel, from the thread pool. glibc by itself gives back only what lies at the
 * end of its heap: what a burst has freed below that stays with the process.
 */
export async function trimFreeMemory(): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  mallocTrim.async(0, (error: unknown) => {
    if (error === null || error === undefined) resolve();
    else reject(error instanceof Error ? error : new Error("malloc_trim could not be called", { cause: error }));
  });
  await promise;
}

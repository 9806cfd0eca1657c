/** Docker's names for what is in the build cache: results of steps, and directories of `RUN --mount=type=cache`. */
export const cacheTypes = { step: "regular", directory: "exec.cachemount" } as const;

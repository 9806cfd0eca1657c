/**
 * URL of a worker's entry beside the calling module: from the sources (`.ts`, in tests) as from the build (`.js`), where all files
 * lie in one directory and `scripts/build.ts` lists the workers.
 * `name` has no extension: `siblingModule(import.meta.url, "kernel-worker")`.
 */
export function siblingModule(importMetaUrl: string, name: string): URL {
  const extension = importMetaUrl.endsWith(".ts") ? ".ts" : ".js";
  return new URL(`./${name}${extension}`, importMetaUrl);
}

/**
 * Makes `dist/`: the program and the library bundled into few files, and the library's types. An engine of a thousand small modules takes
 * twice as long to start and holds 13 MiB more (ADR 11). Nothing is minified: a stack trace has the names and lines of readable files,
 * and the source maps lie beside them for `node --enable-source-maps` and debuggers.
 */
import { execFileSync } from "node:child_process";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { rolldown } from "rolldown";

const root = new URL("..", import.meta.url).pathname;
const dist = new URL("../dist", import.meta.url).pathname;

/** By the name of the file in `dist/`. Threads are found by theirs beside whoever starts them (`siblingModule`): all files are in one directory. */
const entries = {
  main: "src/main.ts",
  index: "src/index.ts",
  "kernel-worker": "src/host/kernel/kernel-worker.ts",
  "archive-worker": "src/archive/archive-worker.ts",
  "source-worker": "src/archive/source-worker.ts",
};

await using bundle = await rolldown({
  cwd: root,
  input: entries,
  platform: "node",
  external: [/^koffi/], // It finds its native part from where it is installed.
});
const { output } = await bundle.generate({
  format: "esm",
  dir: dist,
  entryFileNames: "[name].js",
  chunkFileNames: "[name].js",
  comments: { legal: true, annotation: false, jsdoc: false },
  sourcemap: true,
});
// At the last moment: an engine that runs from here may start a thread.
await mkdir(dist, { recursive: true });
// The guest's binaries are built by guest/build.sh.
for (const name of await readdir(dist)) if (name !== "guest") await rm(join(dist, name), { recursive: true });
for (const file of output) await writeFile(join(dist, file.fileName), file.type === "chunk" ? file.code : file.source);
execFileSync(process.execPath, ["node_modules/typescript-native/bin/tsc", "-p", "tsconfig.build.json"], {
  cwd: root,
  stdio: "inherit",
});

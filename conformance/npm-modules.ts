/** What a suite of JavaScript needs to run: installed by npm from what its package.json asks for, kept between runs. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../test/support/run-command.ts";

const cacheDirectory = new URL("../.cache/conformance/npm/", import.meta.url).pathname;
const installTimeoutMs = 300_000;

/** Path of a `node_modules` with these packages (name to version range). */
export async function npmModules(dependencies: Readonly<Record<string, string>>): Promise<string> {
  const manifest = JSON.stringify({ private: true, dependencies });
  const directory = join(cacheDirectory, createHash("sha256").update(manifest).digest("hex").slice(0, 16));
  if (!existsSync(directory)) {
    const draft = `${directory}.draft`;
    await rm(draft, { recursive: true, force: true });
    await mkdir(draft, { recursive: true });
    await writeFile(join(draft, "package.json"), manifest);
    const words = [
      "install",
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
      "--loglevel=error",
      "--engine-strict=false",
    ];
    const { code, stderr } = await runCommand("npm", words, { cwd: draft, timeoutMs: installTimeoutMs });
    if (code !== 0) throw new Error(`npm can't install what the suite needs:\n${stderr.slice(-1000)}`);
    await rename(draft, directory);
  }
  return join(directory, "node_modules");
}

/** The parts of a package.json that say what to install. */
export interface PackageManifest {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

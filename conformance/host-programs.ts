/** Programs of the host for a stand-in's root: each with the libraries that it loads, and nothing of its configuration. */
import { readFile } from "node:fs/promises";
import { runCommand } from "../test/support/run-command.ts";

/** By the path in the image: `programs` maps that to the path on the host. */
export async function hostPrograms(programs: Readonly<Record<string, string>>): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {};
  for (const [inside, path] of Object.entries(programs)) {
    files[inside] = await readFile(path);
    for (const library of await librariesOf(path)) files[library] ??= await readFile(library);
  }
  return files;
}

/** None where it is static. */
async function librariesOf(program: string): Promise<readonly string[]> {
  const { code, stdout } = await runCommand("ldd", [program]);
  return code === 0 ? [...stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map(([, path]) => path ?? "") : [];
}

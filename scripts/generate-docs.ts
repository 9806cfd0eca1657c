/** Writes the documents that are made from the sources: `node scripts/generate-docs.ts`. */
import { writeFile } from "node:fs/promises";
import { renderApiReference } from "../src/api/docker/api-reference.ts";

const documents = { "docs/api.md": renderApiReference };

for (const [path, render] of Object.entries(documents)) {
  await writeFile(new URL(`../${path}`, import.meta.url), render());
  process.stdout.write(`${path}\n`);
}

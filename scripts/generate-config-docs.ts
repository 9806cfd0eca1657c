/** Writes docs/configuration.md from the settings' schema. `--check` fails when the file is not up to date. */
import { readFileSync, writeFileSync } from "node:fs";
import { configurationPage } from "../src/daemon/config/page.ts";

const path = new URL("../docs/configuration.md", import.meta.url);
const page = configurationPage();
if (process.argv.includes("--check")) {
  if (readFileSync(path, "utf8") !== page) {
    console.error("docs/configuration.md is out of date: npm run docs");
    process.exitCode = 1;
  }
} else writeFileSync(path, page);

import { readFileSync } from "node:fs";
import { projectRoot } from "./project-root.ts";

/** The version in package.json. */
export function berthVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("package.json", projectRoot()), "utf8"));
  return typeof manifest === "object" && manifest !== null && "version" in manifest
    ? String(manifest.version)
    : "unknown";
}

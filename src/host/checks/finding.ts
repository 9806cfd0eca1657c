import { existsSync } from "node:fs";
import { dirname } from "node:path";
import type { Finding } from "../checks.ts";

export function ok(detail: string): Finding {
  return { status: "ok", detail, remedy: "" };
}

export function warning(detail: string, remedy: string): Finding {
  return { status: "warning", detail, remedy };
}

export function error(detail: string, remedy: string): Finding {
  return { status: "error", detail, remedy };
}

/** The directory itself, or the nearest one above it that is there. */
export function nearestDirectory(path: string): string {
  let directory = path;
  while (!existsSync(directory)) directory = dirname(directory);
  return directory;
}

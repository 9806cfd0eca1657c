import { mkdirSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes a directory and those above it; existing is no error. Node's own recursive mkdir never returns where the kernel
 * answers ENOENT to every attempt, as in /proc.
 */
export function makeDirectories(path: string, mode: number): void {
  if (makeOne(path, mode) === "made") return;
  const parent = dirname(path);
  if (parent === path) return;
  makeDirectories(parent, mode);
  mkdirIfMissing(path, mode);
}

function makeOne(path: string, mode: number): "made" | "no-parent" {
  try {
    mkdirIfMissing(path, mode);
    return "made";
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "no-parent";
    throw error;
  }
}

function mkdirIfMissing(path: string, mode: number): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
}

import { readFileSync } from "node:fs";
import { findHierarchies } from "../../../src/host/cgroups/hierarchies.ts";

/** Where this machine's hierarchies are mounted. */
export function cgroupDirectories(): readonly string[] {
  return findHierarchies(readFileSync("/proc/self/mountinfo", "utf8")).directories;
}

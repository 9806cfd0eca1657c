import { accessSync, constants, statSync } from "node:fs";
import { resolve } from "node:path";

/** Where root's tools live, also when the engine was started with a user's PATH. */
const systemDirectories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** `path` with the system's own directories added at the end. */
export function withSystemDirectories(path: string | undefined): string {
  const directories = (path ?? "").split(":").filter((directory) => directory !== "");
  return [...new Set([...directories, ...systemDirectories])].join(":");
}

/** Absolute path of an executable regular file; a name with a slash is taken as it is. */
export function findProgram(program: string, path: string, cwd = process.cwd()): string | undefined {
  if (program.includes("/")) {
    const absolute = resolve(cwd, program);
    return isExecutable(absolute) ? absolute : undefined;
  }
  return path
    .split(":")
    .filter((directory) => directory.startsWith("/"))
    .map((directory) => `${directory}/${program}`)
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

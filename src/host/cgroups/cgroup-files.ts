/** Reading and writing the files of a control group. */
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeSync,
} from "node:fs";
import { errnoAndText, WorkerFailureError } from "../kernel/worker-failure.ts";

/** Contents without the final newline; undefined when the file is not there. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trimEnd();
  } catch (error) {
    const code = errnoAndText(error)?.errno;
    // ENODEV: the group is being removed.
    if (code === "ENOENT" || code === "ENODEV") return undefined;
    throw error;
  }
}

/** A number; 0 for "max", for v1's "no limit" (beyond what a number holds exactly) and for a missing file. */
export function readNumber(path: string): number {
  const value = Number(readText(path) ?? 0);
  return Number.isSafeInteger(value) ? value : 0;
}

/** A file of lines "key value". */
export function readKeyed(path: string): Readonly<Record<string, number>> {
  const values: Record<string, number> = {};
  for (const line of (readText(path) ?? "").split("\n")) {
    const [key, value] = line.split(" ");
    if (key !== undefined && key !== "" && value !== undefined) values[key] = Number(value);
  }
  return values;
}

/** One number of such a file's text, without reading the others; 0 when it is not there. */
export function keyedNumber(text: string, key: string): number {
  const start = text.startsWith(`${key} `) ? 0 : text.indexOf(`\n${key} `) + 1;
  if (start === 0 && !text.startsWith(`${key} `)) return 0;
  const from = start + key.length + 1;
  const end = text.indexOf("\n", from);
  return Number(text.slice(from, end < 0 ? undefined : end));
}

/** Writes a file that is there: the kernel makes them, a missing one is an error. */
export function writeGroupFile(path: string, value: string): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_TRUNC);
  try {
    writeSync(fd, value);
  } finally {
    closeSync(fd);
  }
}

/** Pids of `directory` and every group below; those of other pid namespaces (0) left out. */
export function readProcesses(directory: string): readonly number[] {
  const pids: number[] = [];
  for (const group of [directory, ...groupsBelow(directory)]) {
    for (const line of (readText(`${group}/cgroup.procs`) ?? "").split("\n")) {
      if (line !== "" && line !== "0") pids.push(Number(line));
    }
  }
  return pids;
}

/** Directories of the groups below, parents first. */
export function groupsBelow(directory: string): readonly string[] {
  return groupNames(directory).flatMap((name) => [`${directory}/${name}`, ...groupsBelow(`${directory}/${name}`)]);
}

export function groupNames(directory: string): readonly string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}

/** Removes the group and those below it. False while one of them has processes. */
export function removeGroups(directory: string): boolean {
  for (const group of [directory, ...groupsBelow(directory)].reverse()) {
    try {
      rmdirSync(group);
    } catch (error) {
      const code = errnoAndText(error)?.errno;
      if (code === "EBUSY") return false;
      if (code !== "ENOENT") throw error;
    }
  }
  return true;
}

/** Writes a limit; a failure says which one and why. `controllerDirectory` undefined: this kernel can't do it. */
export class LimitWriter {
  readonly #group: string;

  /** `group` is the path below the hierarchies' roots. */
  constructor(group: string) {
    this.#group = group;
  }

  write(controllerDirectory: string | undefined, file: string, value: string, limit: string): void {
    if (controllerDirectory === undefined) throw rejected(limit, value, "this machine has no such cgroup controller");
    const path = `${controllerDirectory}${this.#group}/${file}`;
    try {
      writeGroupFile(path, value);
    } catch (error) {
      const found = errnoAndText(error);
      // A group that is not there is no fault of the limit.
      if (found === undefined || !existsSync(`${controllerDirectory}${this.#group}`)) throw error;
      const reason = reasons[found.errno] ?? `${found.errno} (${file})`;
      throw rejected(limit, value, reason, error);
    }
  }
}

/** What these files mean by an errno. */
const reasons: Readonly<Record<string, string>> = {
  EBUSY: "more is in use than it allows, and can't be freed",
  EINVAL: "the kernel takes no such value here",
  ERANGE: "this machine has none with such a number, or the value is out of range",
  EACCES: "the parent group does not have that much, or the kernel forbids it",
  ENOENT: "this kernel has no such limit",
  ENODEV: "no such device, or one that can't be limited",
};

export function rejected(limit: string, value: string, reason: string, cause?: unknown): WorkerFailureError {
  return new WorkerFailureError({ kind: "limit-rejected", limit, value, reason }, { cause });
}

/** "major:minor" of a block device, as limits name it. */
export function deviceNumber(path: string, limit: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw rejected(limit, path, "no such device");
  if (!stat.isBlockDevice()) throw rejected(limit, path, "not a block device");
  const major = (stat.rdev >> 8) & 0xfff;
  const minor = (stat.rdev & 0xff) | ((stat.rdev >> 12) & 0xfff00);
  return `${major}:${minor}`;
}

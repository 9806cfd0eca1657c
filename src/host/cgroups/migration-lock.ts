import { readFile, writeFile } from "node:fs/promises";
import type { CgroupHierarchies } from "./hierarchies.ts";

/** How long after a move the next one is free of the wait, at the least: a grace period of RCU at 250 Hz. */
const staysOpenMs = 8;

/**
 * Whoever writes a pid to a v1 group's `cgroup.procs` takes a lock of the kernel's (cgroup_threadgroup_rwsem) that waits for a grace
 * period of RCU, 8 to 15 ms, unless someone has just waited for it. So the wait is begun ahead of time, by moving this process to where
 * it is. On v2 runtimes make processes inside their groups, and nobody waits.
 */
export class MigrationLock {
  readonly #hierarchies: CgroupHierarchies;
  #opening = false;
  #openUntil = 0;

  constructor(hierarchies: CgroupHierarchies) {
    this.#hierarchies = hierarchies;
  }

  /** Begins the wait, unless it has begun or is just over. */
  expect(): void {
    if (this.#hierarchies.mode === "v2" || this.#opening || performance.now() < this.#openUntil) return;
    this.#opening = true;
    this.#open()
      // Where this process may not be moved, the runtime waits itself, as it would have.
      .catch(() => {})
      .finally(() => {
        this.#opening = false;
        this.#openUntil = performance.now() + staysOpenMs;
      });
  }

  async #open(): Promise<void> {
    const procs = ownGroup(this.#hierarchies, await readFile("/proc/self/cgroup", "utf8"));
    if (procs !== undefined) await writeFile(`${procs}/cgroup.procs`, "0");
  }
}

/** Directory of the group that this process is in, of the first v1 controller that is mounted. `text` is of /proc/self/cgroup. */
export function ownGroup({ controllers }: CgroupHierarchies, text: string): string | undefined {
  for (const line of text.split("\n")) {
    const [, names = "", path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const directory = names
      .split(",")
      .map((name) => controllers.get(name))
      .find((found) => found !== undefined);
    if (directory !== undefined && path !== undefined) return path === "/" ? directory : `${directory}${path}`;
  }
  return undefined;
}

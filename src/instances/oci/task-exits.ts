import { statSync } from "node:fs";
import { background } from "../../base/op-context.ts";
import type { Host } from "../../host/host.ts";
import type { TaskExit } from "../driver.ts";
import { bundleFiles, readIfThere } from "./bundle.ts";
import type { OciTask } from "./handle.ts";

const SIGKILL = 9;
/** Reported when a monitor was killed and took the exit code with it: its container is killed then. */
const killedExit = 128 + SIGKILL;

/** How tasks ended, each waited for once however many ask. */
export class TaskExits {
  readonly #host: Host;
  readonly #exits = new Map<string, Promise<TaskExit>>();

  constructor(host: Host) {
    this.#host = host;
  }

  /** Resolves at the task's end; also for one that ended while no engine ran. */
  of(task: OciTask): Promise<TaskExit> {
    const known = this.#exits.get(task.id);
    if (known !== undefined) return known;
    const exit = this.#await(task);
    this.#exits.set(task.id, exit);
    return exit;
  }

  /** What the monitor has written as its last deed; undefined before that, and when it was killed. */
  async read(task: OciTask): Promise<TaskExit | undefined> {
    const path = bundleFiles(task.dir, task.id).exit;
    const text = await readIfThere(path);
    if (text === undefined) return undefined;
    const { mtime } = statSync(path);
    return { exitCode: Number(text), oomKilled: await this.#oomKilled(task), finishedAt: mtime.toISOString() };
  }

  forget(id: string): void {
    this.#exits.delete(id);
  }

  async #await(task: OciTask): Promise<TaskExit> {
    await this.#host.processes.waitGone(task.monitor);
    const exit = await this.read(task);
    if (exit !== undefined) return exit;
    // The monitor was killed. Its container could go on, but with its output broken, no log, nothing to attach to, and its exit
    // code nobody's to read: it is ended, as containerd does when a shim is lost, so that a restart policy makes it whole.
    await this.#host.cgroups.kill(background(), task.cgroupPath);
    this.#host.processes.signal(task.init, SIGKILL);
    await this.#host.processes.waitGone(task.init);
    return { exitCode: killedExit, oomKilled: await this.#oomKilled(task), finishedAt: new Date().toISOString() };
  }

  async #oomKilled(task: OciTask): Promise<boolean> {
    if ((await readIfThere(bundleFiles(task.dir, task.id).oom)) !== undefined) return true;
    return (await this.#host.cgroups.oomKills(task.cgroupPath)) > 0;
  }
}

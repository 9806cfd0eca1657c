import { setTimeout as delay } from "node:timers/promises";
import type { OpContext } from "../../base/op-context.ts";
import type { ResourceSpec, ResourceUsage } from "../../schema/resources.ts";
import type { CgroupDriver, CgroupFeatures, CgroupSample } from "../cgroup.ts";
import { hostErrors } from "../errors.ts";
import type { FailpointName } from "../failpoint-catalogue.ts";
import { failpoints } from "../failpoints.ts";
import type { WorkerClient } from "../kernel/worker-client.ts";
import { type CgroupHierarchies, findFeatures } from "./hierarchies.ts";
import { MigrationLock } from "./migration-lock.ts";

/** For how long processes may take to freeze, or to die of SIGKILL (uninterruptible I/O). */
const patienceMs = 10_000;
/** Polls (1, 2, 4, 8 ms apart) after which a freeze that does not end is begun anew. */
const pollsBeforeThaw = 4;

/** A follower asks again within this time; else the files are closed. */
const followedMs = 15_000;

/** {@link CgroupDriver} by way of the kernel worker. */
export class LinuxCgroups implements CgroupDriver {
  readonly mode: CgroupDriver["mode"];
  readonly controllers: readonly string[];
  readonly features: CgroupFeatures;
  readonly #worker: WorkerClient;
  readonly #migration: MigrationLock;
  #forgetting: NodeJS.Timeout | undefined;

  constructor(worker: WorkerClient, hierarchies: CgroupHierarchies) {
    this.#worker = worker;
    this.#migration = new MigrationLock(hierarchies);
    this.mode = hierarchies.mode;
    this.controllers = [...hierarchies.controllers.keys()].sort();
    this.features = findFeatures(hierarchies);
  }

  async create(ctx: OpContext, path: string): Promise<void> {
    ctx.signal.throwIfAborted();
    if (failpoints.on) await reach("cgroup.create", path);
    await this.#worker.call("cgroupCreate", checkedPath(path));
  }

  expectMove(): void {
    this.#migration.expect();
  }

  async enter(ctx: OpContext, path: string, pid: number): Promise<void> {
    ctx.signal.throwIfAborted();
    if (failpoints.on) await reach("cgroup.enter", path);
    await this.#worker.call("cgroupEnter", checkedPath(path), pid);
  }

  async applyLimits(ctx: OpContext, path: string, resources: ResourceSpec): Promise<void> {
    ctx.signal.throwIfAborted();
    if (failpoints.on) await reach("cgroup.limits", path);
    await this.#worker.call("cgroupApplyLimits", checkedPath(path), resources);
  }

  async usage(path: string): Promise<ResourceUsage> {
    return await this.#worker.call("cgroupUsage", checkedPath(path));
  }

  async samples(paths: readonly string[]): Promise<readonly (CgroupSample | undefined)[]> {
    clearTimeout(this.#forgetting);
    this.#forgetting = setTimeout(() => {
      // Nobody follows them any more.
      this.#worker.call("cgroupSamples", []).catch(() => {});
    }, followedMs).unref();
    return await this.#worker.call("cgroupSamples", paths.map(checkedPath));
  }

  async processes(path: string): Promise<readonly number[]> {
    return await this.#worker.call("cgroupProcesses", checkedPath(path));
  }

  async freeze(ctx: OpContext, path: string): Promise<void> {
    ctx.signal.throwIfAborted();
    if (failpoints.on) await reach("cgroup.freeze", path);
    await this.#worker.call("cgroupSetFrozen", checkedPath(path), true);
    // v1 can be caught in a deadlock: a thread in execve(2) waits for its siblings to die, which are frozen already. Let go for
    // a moment, as freezer-subsystem.rst has it, and try again.
    let polls = 0;
    const frozen = await this.#eventually(ctx, async () => {
      if (await this.isFrozen(path)) return true;
      if (++polls % pollsBeforeThaw === 0) {
        await this.#worker.call("cgroupSetFrozen", path, false);
        await delay(2, undefined, { signal: ctx.signal });
        await this.#worker.call("cgroupSetFrozen", path, true);
      }
      return false;
    });
    if (frozen) return;
    await this.#worker.call("cgroupSetFrozen", path, false);
    const text = `its processes did not freeze within ${patienceMs / 1000} s`;
    throw hostErrors.KERNEL_OP_FAILED({ op: "cgroup-freeze", target: path, errno: "ETIMEDOUT", text });
  }

  async thaw(ctx: OpContext, path: string): Promise<void> {
    ctx.signal.throwIfAborted();
    if (failpoints.on) await reach("cgroup.thaw", path);
    await this.#worker.call("cgroupSetFrozen", checkedPath(path), false);
  }

  async isFrozen(path: string): Promise<boolean> {
    return await this.#worker.call("cgroupIsFrozen", checkedPath(path));
  }

  async oomKills(path: string): Promise<number> {
    return await this.#worker.call("cgroupOomKills", checkedPath(path));
  }

  async kill(ctx: OpContext, path: string): Promise<void> {
    ctx.signal.throwIfAborted();
    if (failpoints.on) await reach("cgroup.kill", path);
    await this.#worker.call("cgroupKill", checkedPath(path));
  }

  async remove(ctx: OpContext, path: string): Promise<void> {
    ctx.signal.throwIfAborted();
    if (failpoints.on) await reach("cgroup.remove", path);
    const removed = await this.#eventually(ctx, async () => {
      if (await this.#worker.call("cgroupRemove", checkedPath(path))) return true;
      // Again each time: a process may have been forked while the others were killed.
      await this.#worker.call("cgroupKill", path);
      return false;
    });
    if (removed) return;
    const pids = await this.processes(path);
    throw hostErrors.CGROUP_BUSY({ path, pids: pids.join(", ") });
  }

  async children(parent: string): Promise<readonly string[]> {
    return await this.#worker.call("cgroupChildren", checkedPath(parent));
  }

  /** Asks until it holds, ever more slowly; false when patience ends. */
  async #eventually(ctx: OpContext, holds: () => Promise<boolean>): Promise<boolean> {
    const deadline = performance.now() + patienceMs;
    for (let waitMs = 1; ; waitMs = Math.min(100, waitMs * 2)) {
      if (await holds()) return true;
      if (performance.now() > deadline) return false;
      await delay(waitMs, undefined, { signal: ctx.signal });
    }
  }
}

/** Refuses what would be the hierarchies' root itself, or lead out of it. */
function checkedPath(path: string): string {
  const parts = path.split("/").slice(1);
  if (path.startsWith("/") && parts.every((part) => part !== "" && part !== "." && part !== "..")) return path;
  const text = "a control group's path has the form /parent/name";
  throw hostErrors.KERNEL_OP_FAILED({ op: "cgroup", target: path, errno: "EINVAL", text });
}

async function reach(point: FailpointName, path: string): Promise<void> {
  const failure = { op: point.replace(".", "-"), target: path, errno: "EIO", text: "i/o error" };
  await failpoints.before(point, path, () => hostErrors.KERNEL_OP_FAILED(failure));
}

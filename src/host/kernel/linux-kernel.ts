import { readFile } from "node:fs/promises";
import { type LinkTraffic, parseLinkTraffic } from "./link-traffic.ts";
import { closeSync } from "node:fs";
import { constants } from "node:os";
import type { OpContext } from "../../base/op-context.ts";
import { hostErrors } from "../errors.ts";
import { failpoints } from "../failpoints.ts";
import type { Kernel, LinkInfo, MountEntry, PrivateMounts, Processes, SeccompFilter } from "../host.ts";
import type { KernelOp } from "../kernel-ops.ts";
import { lockFile } from "../lock.ts";
import { SyscallError } from "../syscall-error.ts";
import { targetOf } from "./op-target.ts";
import type { FileOver } from "./private-mounts.ts";
import type { NftHandOver } from "./worker-calls.ts";
import type { WorkerClient } from "./worker-client.ts";

/** {@link Kernel} by way of the kernel worker; what only nft(8) can do is run from here. */
export class LinuxKernel implements Kernel {
  readonly #worker: WorkerClient;
  readonly #processes: Processes;

  constructor(worker: WorkerClient, processes: Processes) {
    this.#worker = worker;
    this.#processes = processes;
  }

  async apply(ctx: OpContext, ops: readonly KernelOp[]): Promise<void> {
    if (!failpoints.on) return await this.#apply(ctx, ops);
    // One by one, so that there is a moment in front of each.
    for (const op of ops) {
      await failpoints.before(`kernel.${op.op}`, targetOf(op), () => failureOf(op));
      await this.#apply(ctx, [op]);
    }
  }

  async #apply(ctx: OpContext, ops: readonly KernelOp[]): Promise<void> {
    let rest = ops;
    while (rest.length > 0) {
      // Not in the middle of a batch on the worker: that runs to its end in any case.
      ctx.signal.throwIfAborted();
      const handOver = await this.#worker.call("apply", rest);
      if (handOver === undefined) return;
      await this.#runNft(ctx, rest[handOver.index], handOver);
      rest = rest.slice(handOver.index + 1);
    }
  }

  async mounts(prefix: string): Promise<readonly MountEntry[]> {
    return await this.#worker.call("mounts", prefix);
  }

  async links(netns?: string): Promise<readonly LinkInfo[]> {
    return await this.#worker.call("links", netns);
  }

  async linkTraffic(): Promise<ReadonlyMap<string, LinkTraffic>> {
    return parseLinkTraffic(await readFile("/proc/net/dev", "latin1"));
  }

  async readInRoot(root: string, path: string, maxBytes: number): Promise<Uint8Array | undefined> {
    return await this.#worker.call("readInRoot", root, path, maxBytes);
  }

  async getXattr(path: string, name: string): Promise<Uint8Array | undefined> {
    return await this.#worker.call("getXattr", path, name);
  }

  async listXattrs(path: string): Promise<readonly string[]> {
    return await this.#worker.call("listXattrs", path);
  }

  async privateMounts(ctx: OpContext, files: readonly FileOver[]): Promise<PrivateMounts> {
    ctx.signal.throwIfAborted();
    const fd = await this.#worker.call("openPrivateMounts", files);
    return { path: `/proc/${process.pid}/fd/${fd}`, [Symbol.dispose]: () => closeSync(fd) };
  }

  async compileSeccomp(ctx: OpContext, filter: SeccompFilter): Promise<Uint8Array | undefined> {
    ctx.signal.throwIfAborted();
    return await this.#worker.call("compileSeccomp", filter);
  }

  async lock(path: string): Promise<Disposable> {
    return await lockFile(path);
  }

  async #runNft(ctx: OpContext, op: KernelOp | undefined, handOver: NftHandOver): Promise<void> {
    for (const input of handOver.scripts) {
      const { code, stderr } = await this.#processes.run(ctx, { argv: ["nft", "-f", "-"], input });
      if (code === 0) continue;
      if (handOver.missingIsFine && /No such file or directory|does not exist/.test(stderr)) continue;
      throw hostErrors.KERNEL_OP_FAILED({
        op: op?.op ?? "nft",
        target: op === undefined ? "-" : targetOf(op),
        errno: `nft exit code ${code}`,
        text: stderr.trim(),
      });
    }
  }
}

/** As if the kernel had refused it. */
function failureOf(op: KernelOp): Error {
  const cause = new SyscallError(op.op, constants.errno.EIO);
  return hostErrors.KERNEL_OP_FAILED(
    { op: op.op, target: targetOf(op), errno: cause.code, text: cause.text },
    { cause },
  );
}

import type { OpContext } from "../../base/op-context.ts";
import type { Host } from "../../host/host.ts";
import type { TaskIo } from "../driver.ts";
import { driverErrors } from "../driver-errors.ts";
import { AttachHub } from "./attach-hub.ts";
import { bundleFiles } from "./bundle.ts";
import type { OciTask } from "./handle.ts";
import { connectToMonitor } from "./monitor-socket.ts";

/** Connections to the monitors of tasks that have clients. */
export class TaskStreams {
  readonly #host: Host;
  readonly #hubs = new Map<string, Promise<AttachHub>>();

  constructor(host: Host) {
    this.#host = host;
  }

  /** `TASK_NOT_RUNNING` when the monitor has ended. */
  async attach(ctx: OpContext, task: OciTask): Promise<TaskIo> {
    if (!this.#host.processes.isAlive(task.monitor)) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
    let hub = this.#hubs.get(task.id);
    if (hub === undefined) {
      hub = this.#connect(ctx, task);
      this.#hubs.set(task.id, hub);
    }
    return (await hub).attach();
  }

  async #connect(ctx: OpContext, task: OciTask): Promise<AttachHub> {
    try {
      const { attach: path } = bundleFiles(task.dir, task.id);
      const socket = await connectToMonitor(ctx, this.#host, { path, monitor: task.monitor, taken: true });
      if (socket === undefined) throw driverErrors.TASK_NOT_RUNNING({ id: task.id });
      return new AttachHub(socket, {
        stdin: task.openStdin,
        endsStdin: task.stdinOnce,
        onClosed: () => this.#hubs.delete(task.id),
      });
    } catch (error) {
      this.#hubs.delete(task.id);
      throw error;
    }
  }
}

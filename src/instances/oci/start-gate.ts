import { existsSync } from "node:fs";
import { constants, type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import type { OpContext } from "../../base/op-context.ts";
import { failpoints } from "../../host/failpoints.ts";
import { unlink } from "../../host/files.ts";
import type { Host } from "../../host/host.ts";
import { driverErrors } from "../driver-errors.ts";
import type { OciTask } from "./handle.ts";
import { type OciRuntime, runtimeCommand } from "./runtimes.ts";

/** A created container waits at this FIFO in its state directory; once it is started the FIFO is gone. */
const gateName = "exec.fifo";

export function isWaitingAtGate(runtime: OciRuntime, id: string): boolean {
  return existsSync(join(runtime.root, id, gateName));
}

/**
 * Lets a created container go. What `runtime start` does is to meet the container at the FIFO and remove it: done here, it
 * saves a process (10 ms). runc's container writes a byte, crun's reads one. Other runtimes are asked to.
 */
export async function openGate(ctx: OpContext, host: Host, runtime: OciRuntime, task: OciTask): Promise<void> {
  const gate = join(runtime.root, task.id, gateName);
  if (failpoints.on) await failpoints.before("gate.open", gate);
  switch (runtime.name) {
    case "runc":
      await readFromContainer(ctx, host, gate, task);
      break;
    case "crun":
      await writeToContainer(ctx, host, gate, task);
      break;
    default: {
      using command = await runtimeCommand(ctx, host, runtime);
      const result = await host.processes.run(ctx, { argv: [...command.argv, "start", task.id] });
      if (result.code !== 0) throw driverErrors.RUNTIME_FAILED({ id: task.id, step: "start", reason: result.stderr });
    }
  }
}

async function readFromContainer(ctx: OpContext, host: Host, gate: string, task: OciTask): Promise<void> {
  await using file = await open(gate, constants.O_RDONLY | constants.O_NONBLOCK);
  // Opening unblocked the writer; its byte comes within microseconds, and stays when it has ended by then.
  for (let attempt = 0; ; attempt++) {
    const alive = host.processes.isAlive(task.init);
    if (await hasByte(file)) break;
    if (!alive)
      throw driverErrors.RUNTIME_FAILED({ id: task.id, step: "start", reason: "it ended before it was started" });
    await pauseFor(attempt);
    ctx.signal.throwIfAborted();
  }
  await unlink(gate);
}

async function writeToContainer(ctx: OpContext, host: Host, gate: string, task: OciTask): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await using file = await open(gate, constants.O_WRONLY | constants.O_NONBLOCK);
      // In this order: killed in between, the engine finds it at its gate, and undoes a start that nobody was told of. With the FIFO
      // gone and no byte written the container would wait for ever, at the full speed of a core.
      await file.write(new Uint8Array(1));
      await unlink(gate);
      return;
    } catch (error) {
      // ENXIO: it has not opened its end yet.
      if (!(error instanceof Error && "code" in error && error.code === "ENXIO")) throw error;
    }
    await pauseFor(attempt);
    ctx.signal.throwIfAborted();
    if (!host.processes.isAlive(task.init)) {
      throw driverErrors.RUNTIME_FAILED({ id: task.id, step: "start", reason: "it ended before it was started" });
    }
  }
}

async function pauseFor(attempt: number): Promise<void> {
  if (attempt < 50) await nextTurn();
  else await delay(1);
}

/** Until the writer is there a read finds nobody (0 bytes), then nothing (EAGAIN). */
async function hasByte(file: FileHandle): Promise<boolean> {
  try {
    return (await file.read(new Uint8Array(1), 0, 1)).bytesRead === 1;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EAGAIN") return false;
    throw error;
  }
}

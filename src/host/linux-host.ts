import { readFile } from "node:fs/promises";
import type { Logger } from "../base/logger.ts";
import { findHierarchies } from "./cgroups/hierarchies.ts";
import { LinuxCgroups } from "./cgroups/linux-cgroups.ts";
import { readHostFacts } from "./facts.ts";
import type { Host } from "./host.ts";
import { LinuxKernel } from "./kernel/linux-kernel.ts";
import { WorkerClient } from "./kernel/worker-client.ts";
import { LinuxProcesses } from "./process/linux-processes.ts";
import { connectSeqpacket } from "./seqpacket.ts";

/** The real {@link Host}. Start it once for each engine, and close it: an open one watches children and keeps a thread. */
export async function createLinuxHost(options: { readonly log: Logger }): Promise<Host> {
  const worker = new WorkerClient(options.log);
  const processes = new LinuxProcesses(worker);
  const kernel = new LinuxKernel(worker, processes);
  return {
    kernel,
    processes,
    cgroups: new LinuxCgroups(worker, findHierarchies(await readFile("/proc/self/mountinfo", "utf8"))),
    facts: readHostFacts(),
    sockets: { connectSeqpacket },
    close: async () => {
      processes.close();
      await worker.close();
    },
  };
}

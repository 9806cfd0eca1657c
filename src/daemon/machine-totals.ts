import { statfsSync } from "node:fs";
import type { HostFacts } from "../host/host.ts";
import { readPidTotal } from "../host/machine-usage.ts";
import type { Quantities } from "../schema/capacity.ts";

/**
 * What this machine has, to be asked again and again: the file system under the data root can grow. Of it only what the
 * kernel gives to everyone counts, without the blocks that are kept for the superuser.
 */
export async function machineTotals(facts: HostFacts, dataRoot: string): Promise<() => Quantities> {
  const pids = await readPidTotal();
  return () => {
    const { blocks, bfree, bavail, bsize } = statfsSync(dataRoot);
    return { cpu: facts.cpus * 1e9, memory: facts.memoryBytes, pids, disk: (blocks - (bfree - bavail)) * bsize };
  };
}

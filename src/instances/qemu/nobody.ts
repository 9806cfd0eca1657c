import { dirname, join } from "node:path";
import { unlimited } from "../../schema/resources.ts";
import type { PrepareRequest } from "../driver.ts";

/** Of processor time beside others: nobody waits for it. */
const idleShares = 64;

/** The request of a machine like another, of the same size, without streams, names, networks and limits of its own: no instance's. */
export function nobody(like: PrepareRequest, id: string): PrepareRequest {
  const { process, resources } = like.spec;
  return {
    ...like,
    id,
    dir: join(dirname(like.dir), id),
    logPath: "",
    interfaces: [],
    hostname: "template",
    namespaces: { ...like.namespaces, network: "private" },
    cgroupPath: join(dirname(like.cgroupPath), id),
    spec: {
      ...like.spec,
      process: { ...process, tty: false, openStdin: false },
      oomScoreAdj: 0,
      resources: { ...unlimited, memory: resources.memory, cpuShares: idleShares },
    },
  };
}

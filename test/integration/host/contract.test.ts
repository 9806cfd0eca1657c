import { writeFileSync } from "node:fs";
import { background } from "../../../src/base/op-context.ts";
import { describeHost } from "../../../src/host/host.contract.ts";
import { openHost, testSuffix } from "./linux-host.ts";
import { cgroupDirectories } from "./cgroup-directories.ts";

const ctx = background();

describeHost(
  "LinuxHost",
  {
    open: openHost,
    startSleeper: (host) => host.processes.spawn(ctx, { argv: ["sleep", "1000"], env: {} }),
    join: async (_host, group, pid) => {
      for (const directory of cgroupDirectories()) writeFileSync(`${directory}${group}/cgroup.procs`, String(pid));
    },
  },
  testSuffix,
);

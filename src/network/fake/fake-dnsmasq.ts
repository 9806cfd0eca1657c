import { readFileSync, writeFileSync } from "node:fs";
import type { FakeProcesses } from "../../host/fake/fake-processes.ts";

/** Lets `processes` run a dnsmasq that does what the real one shows: it leaves a pid file and a process. Answers their pids. */
export function scriptDnsmasq(processes: FakeProcesses): readonly number[] {
  const pids: number[] = [];
  processes.script("dnsmasq", ({ argv }) => {
    const config = readFileSync(argv[1]?.replace("--conf-file=", "") ?? "", "utf8");
    const pidFile = /^pid-file=(.*)$/m.exec(config)?.[1] ?? "";
    const { pid } = processes.addRunning({ argv }).identity;
    writeFileSync(pidFile, `${pid}\n`);
    pids.push(pid);
    return { code: 0 };
  });
  return pids;
}

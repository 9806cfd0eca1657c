/** What everything on this machine uses now, from /proc: a few small files, whatever runs. */
import { readFile } from "node:fs/promises";

export interface MachineUsage {
  /** Nanoseconds that the CPUs were busy since boot. */
  readonly cpuBusyNs: number;
  /** Bytes that could not be had without swapping. */
  readonly memoryBytes: number;
  /** Processes and threads. */
  readonly pids: number;
}

export async function readMachineUsage(): Promise<MachineUsage> {
  const [stat, meminfo, loadavg] = await Promise.all(
    ["stat", "meminfo", "loadavg"].map((name) => readFile(`/proc/${name}`, "utf8")),
  );
  return {
    cpuBusyNs: busyNs(stat ?? ""),
    memoryBytes: usedMemory(meminfo ?? ""),
    pids: Number((loadavg ?? "").split(" ")[3]?.split("/")[1] ?? 0),
  };
}

/** How many processes and threads the kernel lets there be: the lesser of its two bounds. */
export async function readPidTotal(): Promise<number> {
  const [pids, threads] = await Promise.all(
    ["pid_max", "threads-max"].map(async (name) => Number(await readFile(`/proc/sys/kernel/${name}`, "utf8"))),
  );
  return Math.min(pids ?? 0, threads ?? 0);
}

/** First line of /proc/stat (proc_stat(5)): user hertz are hundredths of a second on every Linux we run on. */
export function busyNs(stat: string): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (stat.split("\n", 1)[0] ?? "")
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq + steal) * 10_000_000;
}

export function usedMemory(meminfo: string): number {
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(meminfo)?.[1] ?? 0);
  return (kib("MemTotal") - kib("MemAvailable")) * 1024;
}

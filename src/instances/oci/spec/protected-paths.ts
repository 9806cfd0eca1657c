import type { SecuritySpec } from "../../../schema/instance.ts";

/** What of /proc and /sys tells about or changes the host: Docker's lists. */
const masked: readonly string[] = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];
const readonly: readonly string[] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** Paths hidden from and read-only for a container; none when privileged, unless it states its own. */
export function protectedPaths(security: Pick<SecuritySpec, "privileged" | "maskedPaths" | "readonlyPaths">): {
  readonly masked: readonly string[];
  readonly readonly: readonly string[];
} {
  return {
    masked: security.maskedPaths ?? (security.privileged ? [] : masked),
    readonly: security.readonlyPaths ?? (security.privileged ? [] : readonly),
  };
}

import type { ByteProgress } from "./shared-work.ts";

const PROGRESS_INTERVAL_MS = 100;

/** Progress no more often than a screen shows it; the first and the last always. */
export function throttled(report: ByteProgress): ByteProgress {
  let last = Number.NEGATIVE_INFINITY;
  return (current, total) => {
    const now = performance.now();
    if (now - last < PROGRESS_INTERVAL_MS && current !== total) return;
    last = now;
    report(current, total);
  };
}

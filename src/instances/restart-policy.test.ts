import { describe, expect, it } from "vitest";
import type { RestartPolicy } from "../schema/instance.ts";
import { type EndedRun, restartDelay } from "./restart-policy.ts";

const failed: EndedRun = {
  exitCode: 1,
  unhealthy: false,
  ranMs: 50,
  exitIsFinal: false,
  manuallyStopped: false,
  restartCount: 0,
  lastDelayMs: 0,
};
const policy = (name: RestartPolicy["name"], maximumRetryCount = 0) => ({
  name,
  maximumRetryCount,
});

describe("restart delays", () => {
  it("double from 100 ms to a minute, and begin anew after ten seconds' run", () => {
    const delays: number[] = [];
    for (let last = 0; delays.length < 12; delays.push(last)) {
      last = restartDelay(policy("always"), { ...failed, lastDelayMs: last }) ?? 0;
    }
    expect(delays).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
    expect(restartDelay(policy("always"), { ...failed, lastDelayMs: 51200, ranMs: 10_000 })).toBe(100);
  });

  it("follow the policy's word", () => {
    expect(restartDelay(policy("no"), failed)).toBeUndefined();
    expect(restartDelay(policy("on-failure"), { ...failed, exitCode: 0 })).toBeUndefined();
    expect(restartDelay(policy("on-failure", 3), { ...failed, restartCount: 2 })).toBe(100);
    expect(restartDelay(policy("on-failure", 3), { ...failed, restartCount: 3 })).toBeUndefined();
    // A signal that was not meant to end it: `always` brings it back, `unless-stopped` does not.
    expect(restartDelay(policy("always"), { ...failed, manuallyStopped: true })).toBe(100);
    expect(restartDelay(policy("unless-stopped"), { ...failed, manuallyStopped: true })).toBeUndefined();
    expect(restartDelay(policy("always"), { ...failed, exitIsFinal: true })).toBeUndefined();
  });

  it("take an unhealthy run for a failed one where the policy says so", () => {
    const unhealthy = { ...failed, exitCode: 0, unhealthy: true };
    expect(restartDelay(policy("unhealthy"), unhealthy)).toBe(100);
    expect(restartDelay(policy("on-failure"), unhealthy)).toBeUndefined();
    expect(restartDelay(policy("unhealthy"), failed)).toBe(100);
    expect(restartDelay(policy("unhealthy"), { ...unhealthy, unhealthy: false })).toBeUndefined();
    expect(restartDelay(policy("unhealthy"), { ...unhealthy, manuallyStopped: true })).toBeUndefined();
    expect(restartDelay(policy("unhealthy", 2), { ...unhealthy, restartCount: 2 })).toBeUndefined();
  });
});

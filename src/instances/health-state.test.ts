import { describe, expect, it } from "vitest";
import { initialHealth, nextProbeDelay, probePlan, withProbe } from "./health-state.ts";

const second = 1_000_000_000;
const probe = (exitCode: number) => ({ start: "", end: "", exitCode, output: "" });

describe("health", () => {
  it("has Docker's defaults, and none without a command", () => {
    expect(probePlan({ healthcheck: { Test: ["CMD", "x"] } })).toEqual({
      intervalMs: 30_000,
      timeoutMs: 30_000,
      startPeriodMs: 0,
      startIntervalMs: 5000,
      retries: 3,
    });
    expect(initialHealth({ healthcheck: { Test: ["NONE"] } })).toBeNull();
    expect(initialHealth({ healthcheck: null })).toBeNull();
  });

  it("counts no failure in the start period, and looks more often then", () => {
    const plan = probePlan({ healthcheck: { Test: ["CMD", "x"], StartPeriod: 10 * second, Retries: 2 } });
    const starting = initialHealth({ healthcheck: { Test: ["CMD", "x"] } });
    if (plan === undefined || starting === null) throw new Error("there is a health check");
    expect(nextProbeDelay(plan, starting, 9000)).toBe(5000);
    expect(nextProbeDelay(plan, starting, 10_000)).toBe(30_000);
    const early = withProbe(plan, starting, probe(1), 9000);
    expect(early).toMatchObject({ status: "starting", failingStreak: 0 });
    const once = withProbe(plan, early, probe(1), 11_000);
    const twice = withProbe(plan, once, probe(1), 12_000);
    expect([once.status, twice.status]).toEqual(["starting", "unhealthy"]);
    expect(withProbe(plan, twice, probe(0), 13_000)).toMatchObject({ status: "healthy", failingStreak: 0 });
  });
});

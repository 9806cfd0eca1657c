import { describe, expect, it } from "vitest";
import { missingSettings } from "./memory-settings.ts";

describe("missingSettings", () => {
  it("names both for a plain start, and keeps what a user chose", () => {
    expect(missingSettings({ execArgv: ["--no-warnings"], environment: {} })).toEqual({
      execArgv: ["--max-semi-space-size=2"],
      environment: { MALLOC_ARENA_MAX: "2" },
    });
    expect(missingSettings({ execArgv: [], environment: { MALLOC_ARENA_MAX: "8" } })).toEqual({
      execArgv: ["--max-semi-space-size=2"],
      environment: {},
    });
    const environment = { NODE_OPTIONS: "--max-semi-space-size=16" };
    expect(missingSettings({ execArgv: [], environment })?.execArgv).toEqual([]);
  });

  it("is content with what it asked for: a process replaces itself once", () => {
    const first = missingSettings({ execArgv: [], environment: {} });
    expect(missingSettings({ execArgv: first?.execArgv ?? [], environment: first?.environment ?? {} })).toBeUndefined();
  });
});

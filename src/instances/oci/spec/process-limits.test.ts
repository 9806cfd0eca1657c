import { describe, expect, it } from "vitest";
import { parseHardLimits, processOomScore, processRlimits } from "./process-limits.ts";

const proc = [
  "Limit                     Soft Limit           Hard Limit           Units     ",
  "Max stack size            8388608              unlimited            bytes     ",
  "Max open files            1024                 20000                files     ",
  "Max nice priority         0                    0                    ",
].join("\n");
const own = { maySetAny: false, hard: parseHardLimits(proc), oomScoreAdj: 0 };

describe("ulimits", () => {
  it("reads our own hard limits", () => {
    expect([...own.hard]).toEqual([
      ["nice", 0],
      ["nofile", 20_000],
      ["stack", Number.POSITIVE_INFINITY],
    ]);
  });

  it("writes them as the specification has them", () => {
    expect(processRlimits([{ name: "nofile", soft: 100, hard: 200 }], own)).toEqual([
      { type: "RLIMIT_NOFILE", soft: 100, hard: 200 },
    ]);
  });

  it("writes an unlimited one as a number that fits 64 bits", () => {
    const [limit] = processRlimits([{ name: "stack", soft: -1, hard: -1 }], own);
    expect(BigInt(limit?.hard ?? 0) < 2n ** 64n).toBe(true);
    expect(JSON.stringify(limit?.hard)).toMatch(/^\d+$/);
  });

  it("refuses what it may not raise, by name, unless it may", () => {
    const asked = [{ name: "nofile", soft: 65_536, hard: 65_536 }];
    expect(() => processRlimits(asked, own)).toThrow(
      "ulimit nofile=65536 is above this engine's own hard limit of 20000, which it may not raise (no CAP_SYS_RESOURCE)",
    );
    expect(processRlimits(asked, { ...own, maySetAny: true })).toHaveLength(1);
  });

  it("refuses an unknown name, and soft above hard", () => {
    expect(() => processRlimits([{ name: "fun", soft: 1, hard: 1 }], own)).toThrow("invalid ulimit type: fun");
    expect(() => processRlimits([{ name: "nofile", soft: -1, hard: 5 }], own)).toThrow("soft limit must be less");
  });
});

describe("OOM score", () => {
  it("raises freely", () => {
    expect(processOomScore(500, own)).toBe(500);
  });

  it("refuses to lower without the capability, but leaves ours when none was asked for", () => {
    expect(() => processOomScore(-1, own)).toThrow("oom-score-adj -1 is below this engine's own 0");
    expect(processOomScore(-1, { ...own, maySetAny: true })).toBe(-1);
    expect(processOomScore(0, { ...own, oomScoreAdj: 300 })).toBeUndefined();
  });
});

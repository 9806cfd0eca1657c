import { describe, expect, it } from "vitest";
import { idleAfterWork } from "./idle-memory.ts";

const busy = { workedMs: 2500, share: 0.5 };
const idle = { workedMs: 5, share: 0.001 };

describe("giving memory back", () => {
  it("waits for the end of the work, and is done once", () => {
    const isTime = idleAfterWork();
    expect([busy, busy, idle, idle, idle].map(isTime)).toEqual([false, false, true, false, false]);
    expect([busy, idle].map(isTime)).toEqual([false, true]);
  });

  it("is not worth while for the little that an idle engine does, until that adds up", () => {
    const isTime = idleAfterWork();
    const times = Array.from({ length: 120 }, () => isTime(idle)).filter(Boolean);
    expect(times).toHaveLength(2);
  });
});

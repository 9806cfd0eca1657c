import { describe, expect, it } from "vitest";
import { idleMs, maxTemplates, type PooledTemplate, planPool } from "./pool-plan.ts";

const MiB = 1024 * 1024;
const each = 768 * MiB;
const template = (key: string, usedMs: number, overrides: Partial<PooledTemplate> = {}): PooledTemplate => ({
  key,
  usedMs,
  memory: each,
  waiting: 0,
  usable: true,
  ...overrides,
});
const plan = (templates: readonly PooledTemplate[], left = 100 * each, nowMs = 1000) => {
  const { giveUp, fill } = planPool(templates, { size: 2, left, nowMs });
  return { giveUp: Object.fromEntries(giveUp), fill };
};

describe("the pool's plan", () => {
  it("fills the template that was used last, then the others, up to the size of each", () => {
    expect(plan([template("a", 1), template("b", 2)]).fill).toBe("b");
    expect(plan([template("a", 1), template("b", 2, { waiting: 1 })]).fill).toBe("b");
    expect(plan([template("a", 1), template("b", 2, { waiting: 2 })]).fill).toBe("a");
    expect(plan([template("a", 1, { waiting: 2 }), template("b", 2, { waiting: 2 })])).toEqual({ giveUp: {} });
  });

  it("takes nothing that the ledger has not, and leaves room for the start of one more", () => {
    expect(plan([template("a", 1)], 2 * each).fill).toBe("a");
    expect(plan([template("a", 1)], 2 * each - 1).fill).toBeUndefined();
    expect(plan([template("a", 1)], -each).fill).toBeUndefined();
  });

  it("gives a place of what was used less recently to what was used last, and of nothing else", () => {
    const older = template("old", 1, { waiting: 2 });
    const middle = template("middle", 2, { waiting: 2 });
    expect(plan([older, middle, template("new", 3)], each)).toEqual({ giveUp: { old: 1 }, fill: "new" });
    expect(plan([older, middle, template("new", 3)], -2 * each)).toEqual({
      giveUp: { old: 2, middle: 2 },
      fill: "new",
    });
    // Not enough, all together: then nobody goes for nothing.
    expect(plan([older, middle, template("new", 3)], -3 * each)).toEqual({ giveUp: {} });
    expect(plan([template("older", 1), template("newer", 2, { waiting: 2 })], each)).toEqual({ giveUp: {} });
  });

  it("counts as one place what a machine is, whatever its size", () => {
    const small = template("small", 1, { memory: each / 4, waiting: 2 });
    expect(plan([small, template("new", 2)], 1.5 * each)).toEqual({ giveUp: { small: 2 }, fill: "new" });
    // A smaller one behind it still fits.
    expect(plan([template("next", 1, { memory: each / 4 }), template("last", 2)], each).fill).toBe("next");
  });

  it("ends what is not in use, or can't be had any more, and fills nothing of it", () => {
    const gone = template("gone", 3, { waiting: 2, usable: false });
    expect(plan([gone])).toEqual({ giveUp: { gone: 2 } });
    expect(plan([template("idle", 0, { waiting: 1 })], each, idleMs)).toEqual({ giveUp: { idle: 1 } });
    expect(plan([template("busy", 1)], each * 2, idleMs).fill).toBe("busy");
  });

  it("has machines of so many templates at most", () => {
    const many = Array.from({ length: maxTemplates + 1 }, (_, i) => template(`t${i}`, i + 1, { waiting: 2 }));
    expect(plan(many)).toEqual({ giveUp: { t0: 2 } });
  });
});

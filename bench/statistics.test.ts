import { describe, expect, it } from "vitest";
import { medianInterval, pairedRatio, summarize, unpairedRatio } from "./statistics.ts";

describe("summarize", () => {
  it("gives the order statistics of an even and an odd number of samples", () => {
    expect(summarize([4, 1, 3, 2])).toEqual({
      count: 4,
      median: 2.5,
      lowerQuartile: 1.75,
      upperQuartile: 3.25,
      min: 1,
      max: 4,
    });
    expect(summarize([5, 1, 9])).toMatchObject({ median: 5, min: 1, max: 9 });
    expect(summarize([])).toBeUndefined();
  });
});

describe("medianInterval", () => {
  it("covers with 95 % by order statistics", () => {
    // The classic table of the sign test: for 11 samples the 2nd and the 10th (98.8 %), for 21 the 6th and the 16th (97.3 %).
    const eleven = medianInterval(Array.from({ length: 11 }, (_, at) => at + 1));
    expect(eleven).toMatchObject({ estimate: 6, low: 2, high: 10 });
    expect(eleven?.confidence).toBeCloseTo(0.9883, 4);
    const twentyOne = medianInterval(Array.from({ length: 21 }, (_, at) => at + 1));
    expect(twentyOne).toMatchObject({ estimate: 11, low: 6, high: 16 });
    expect(twentyOne?.confidence).toBeCloseTo(0.9734, 4);
  });

  it("says how little a few samples tell", () => {
    expect(medianInterval([3, 1, 2])).toEqual({ estimate: 2, low: 1, high: 3, confidence: 0.75 });
    expect(medianInterval([7])).toEqual({ estimate: 7, low: 7, high: 7, confidence: 0 });
  });
});

describe("pairedRatio", () => {
  it("pairs by round, so that a slow round cancels out", () => {
    const theirs = [10, 100, 10, 10, 100, 10];
    const ours = theirs.map((value) => value / 4);
    expect(pairedRatio(ours, theirs)).toMatchObject({ estimate: 0.25, low: 0.25, high: 0.25 });
  });

  it("leaves out rounds that miss a side", () => {
    expect(pairedRatio([1, undefined, 3], [2, 2, undefined])).toMatchObject({ estimate: 0.5 });
    expect(pairedRatio([1], [undefined])).toBeUndefined();
  });
});

describe("unpairedRatio", () => {
  it("holds a real difference apart from none", () => {
    const noise = [0, 1, -1, 2, -2, 0.5, -0.5, 1.5, -1.5, 0.2];
    const before = noise.map((value) => 100 + value);
    const faster = unpairedRatio(
      noise.map((value) => 80 + value),
      before,
    );
    expect(faster?.high).toBeLessThan(0.85);
    const same = unpairedRatio(
      noise.map((value) => 100 - value),
      before,
    );
    expect(same?.low).toBeLessThanOrEqual(1);
    expect(same?.high).toBeGreaterThanOrEqual(1);
  });

  it("answers the same for the same samples", () => {
    expect(unpairedRatio([1, 2, 3], [2, 3, 4])).toEqual(unpairedRatio([1, 2, 3], [2, 3, 4]));
    expect(unpairedRatio([], [1])).toBeUndefined();
  });
});

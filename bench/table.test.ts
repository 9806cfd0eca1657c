import { describe, expect, it } from "vitest";
import { compareRuns } from "./compare.ts";
import type { Metric } from "./metric.ts";
import { duration } from "./metric.ts";
import { markdownReport } from "./report.ts";
import { Results } from "./results.ts";
import { turns } from "./rounds.ts";
import { markdownTable, verdict } from "./table.ts";

const start = duration("start", "`start`", 0.5);
const rate: Metric = {
  id: "load",
  label: "load",
  unit: "MB/s",
  better: "more",
  target: { kind: "ratio", peer: "docker", bound: 2 },
};
const rss: Metric = { id: "rss", label: "RSS", unit: "MiB", better: "less", target: { kind: "value", bound: 150 } };

function results(metric: Metric, samples: Readonly<Record<string, readonly number[]>>): Results {
  const made = new Results();
  for (const [engine, values] of Object.entries(samples)) {
    for (const [round, value] of values.entries()) made.record(metric, engine, round, value);
  }
  return made;
}

describe("verdict", () => {
  it("holds the median of the paired ratios against the bound", () => {
    const theirs = [100, 110, 90, 100, 105, 95];
    const by = (factor: number) => results(start, { berth: theirs.map((value) => value * factor), docker: theirs });
    expect(verdict(by(0.4), start, "berth")).toBe("≤ 0.5x docker: met");
    expect(verdict(by(0.6), start, "berth")).toBe("≤ 0.5x docker: **missed**");
  });

  it("says when the noise reaches over the bound", () => {
    const noisy = results(start, { berth: [40, 45, 48, 49, 55, 60], docker: [100, 100, 100, 100, 100, 100] });
    expect(verdict(noisy, start, "berth")).toBe("≤ 0.5x docker: met (within the noise)");
  });

  it("knows rates, of which more is better, and bounds without a peer", () => {
    expect(verdict(results(rate, { berth: [30], docker: [10] }), rate, "berth")).toBe("≥ 2x docker: met");
    expect(verdict(results(rate, { berth: [15], docker: [10] }), rate, "berth")).toBe("≥ 2x docker: **missed**");
    expect(verdict(results(rss, { berth: [151] }), rss, "berth")).toBe("≤ 150 MiB: **missed**");
  });

  it("claims nothing of a peer that was not named", () => {
    expect(verdict(results(start, { berth: [1, 2, 3] }), start, "berth")).toBe("≤ 0.5x docker: not measured");
  });
});

describe("markdownTable", () => {
  it("has a row a metric, and a ratio to each peer", () => {
    const made = results(start, { berth: [40, 42, 44], docker: [100, 105, 110], podman: [200, 210, 220] });
    expect(markdownTable(made, ["berth", "docker", "podman"]).split("\n")).toEqual([
      "| measured | rounds | berth | docker | berth / docker | podman | berth / podman | target |",
      "| --- | --: | --: | --: | --: | --: | --: | --: |",
      "| `start` | 3 | 42.0 ms (41.0–43.0) | 105 ms (103–108) | 0.40 | 210 ms (205–215) | 0.20 | ≤ 0.5x docker: met |",
    ]);
  });

  it("is the same after the samples went through a file", () => {
    const made = results(start, { berth: [40, 42], docker: [100, 105] });
    const again = Results.fromJSON(JSON.parse(JSON.stringify(made)) as ReturnType<Results["toJSON"]>);
    expect(markdownTable(again, ["berth", "docker"])).toBe(markdownTable(made, ["berth", "docker"]));
  });
});

describe("markdownReport", () => {
  it("says what failed, once, and on which engine", () => {
    const made = results(start, { berth: [40] });
    for (let times = 0; times < 2; times++) made.fail("pull", "podman", "no\nTLS");
    const machine = {
      cpu: "one",
      cpus: 2,
      memoryGiB: 4,
      kernel: "6.1",
      system: "Debian",
      cgroups: "v2",
      load: [0],
      dockerClient: "28",
    };
    const report = markdownReport(made, { command: "--rounds 1", date: "2026-01-01", rounds: 1, machine, engines: [] });
    expect(report).toContain("\nFailed:\n- pull on podman: no TLS (2 times)\n");
  });
});

describe("compareRuns", () => {
  const docker = [100, 102, 98, 101, 99, 100];
  const slowMachine = docker.map((value) => value * 3);
  const run = (factor: number, peer: readonly number[]) =>
    results(start, { berth: peer.map((value) => value * factor), docker: peer });

  it("does not take a slower machine for a slower engine", () => {
    const [change] = compareRuns(run(0.5, slowMachine), run(0.5, docker), "berth", ["docker"]);
    expect(change).toMatchObject({ by: "docker", verdict: "no difference" });
  });

  it("tells better from worse by what is good", () => {
    const verdictOf = (now: Results, before: Results) => compareRuns(now, before, "berth", ["docker"])[0]?.verdict;
    expect(verdictOf(run(0.3, slowMachine), run(0.5, docker))).toBe("better");
    expect(verdictOf(run(0.5, docker), run(0.3, docker))).toBe("worse");
    const rates = (value: number) => results(rate, { berth: [value, value, value], docker: [10, 10, 10] });
    expect(verdictOf(rates(30), rates(20))).toBe("better");
  });

  it("compares plain values when the runs have no peer in common", () => {
    const [change] = compareRuns(results(start, { berth: [10, 10] }), run(0.5, docker), "berth", ["docker"]);
    expect(change).toMatchObject({ by: undefined, verdict: "better" });
  });
});

describe("turns", () => {
  it("gives every engine one turn a round, and another the first", () => {
    expect([...turns(["a", "b", "c"], 1, 2)]).toEqual([
      ["a", -1],
      ["b", -1],
      ["c", -1],
      ["b", 0],
      ["c", 0],
      ["a", 0],
      ["c", 1],
      ["a", 1],
      ["b", 1],
    ]);
  });
});

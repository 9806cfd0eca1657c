import { describe, expect, it } from "vitest";
import { parseProcStat } from "./proc-stat.ts";

const rest =
  "S 1 77 77 0 -1 4194560 100 200 0 0 1 2 3 4 20 0 1 0 987654 1000000 500 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0";

describe("parseProcStat", () => {
  it("reads state, parent and start time", () => {
    expect(parseProcStat(`77 (sleep) ${rest}\n`)).toEqual({
      pid: 77,
      name: "sleep",
      state: "S",
      parent: 1,
      session: 77,
      exiting: false,
      startTime: 987654,
    });
  });

  it("tells a process that is on its way out", () => {
    expect(parseProcStat(`77 (sleep) ${rest.replace("4194560", "4194564")}`)).toMatchObject({ exiting: true });
  });

  it.each(["a) R 9 9", "(x", ") (", "tmux: server (1)", ""])("takes the name %j for what it is", (name) => {
    expect(parseProcStat(`5 (${name}) ${rest}`)).toMatchObject({ name, state: "S", startTime: 987654 });
  });

  it("refuses what is no stat line", () => {
    expect(parseProcStat("")).toBeUndefined();
    expect(parseProcStat("12 (cut) S 1")).toBeUndefined();
  });
});

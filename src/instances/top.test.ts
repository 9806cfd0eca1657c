import { describe, expect, it } from "vitest";
import { TestEngine } from "./fake/test-engine.ts";
import { parsePs } from "./top.ts";

describe("ps output", () => {
  it("is narrowed to the instance's processes, with the words of a command joined", () => {
    const output = "UID        PID  CMD\nroot         1  /sbin/init splash\nroot        70  sh -c  x y\n";
    expect(parsePs(output, new Set([70]))).toEqual({
      titles: ["UID", "PID", "CMD"],
      rows: [["root", "70", "sh -c x y"]],
    });
  });

  it("keeps the thread rows that follow a process of the instance", () => {
    const output = "PID LWP CMD\n1 - init\n- 1 -\n70 - sh\n- 70 -\n- 71 -\n80 - other\n- 80 -\n";
    expect(parsePs(output, new Set([70])).rows).toEqual([
      ["70", "-", "sh"],
      ["-", "70", "-"],
      ["-", "71", "-"],
    ]);
  });

  it("needs the pids to tell whose processes they are", () => {
    expect(() => parsePs("UID CMD\nroot x\n", new Set([1]))).toThrow("Couldn't find PID field in ps output");
  });

  it("is never asked for under a false title", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"]);
    await expect(engine.service.processes(engine.ctx, id, "-o ppid=PID,cmd")).rejects.toThrow(
      'specifying "ppid=PID" is not allowed',
    );
  });
});

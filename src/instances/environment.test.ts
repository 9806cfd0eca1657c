import { describe, expect, it } from "vitest";
import { instanceSpec } from "./fake/instance-spec.ts";
import { completeEnvironment, mergeEnvironment } from "./environment.ts";

describe("environment", () => {
  it("replaces in place, adds behind, and removes what has a name only", () => {
    expect(mergeEnvironment(["A=1", "B=2", "C=3"], ["B=x", "D=4", "C", "NEVER"])).toEqual(["A=1", "B=x", "D=4"]);
  });

  it("lets a bare name take Docker's own variables away, and an exec's additions win", () => {
    const spec = instanceSpec(["env"], { process: { env: ["HOSTNAME", "A=1", "EMPTY="] } });
    const environment = completeEnvironment(spec, "web", { tty: true, additions: ["A=2", "TERM"] });
    expect(environment).toEqual([expect.stringMatching(/^PATH=/), "A=2", "EMPTY="]);
  });
});

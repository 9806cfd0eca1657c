import { describe, expect, it } from "vitest";
import { type Condition, Conditions, faultOf } from "./conditions.ts";

describe("Conditions", () => {
  it("tells what held at some time since", () => {
    let now = 0;
    const conditions = new Conditions(() => now);
    const full = conditions.begin("disk full");
    now = 10;
    full[Symbol.dispose]();
    now = 20;
    using _ = conditions.begin("pruning");
    expect([...conditions.since(5)]).toEqual(["disk full", "pruning"]);
    expect([...conditions.since(11)]).toEqual(["pruning"]);
  });
});

describe("faultOf", () => {
  const none = new Set<Condition>();
  const error = (status: number, message: string, code = "X") => ({ status, code, message });

  it("wants a reason for every 5xx, and that it is named", () => {
    expect(faultOf(error(500, "boom"), none, [])).toBe("500 X boom");
    expect(faultOf(error(507, "no space left on device"), none, [])).toContain("507");
    expect(faultOf(error(507, "no space left on device"), new Set(["disk full"]), [])).toBeUndefined();
    expect(faultOf(error(500, "Cannot read properties of undefined"), new Set(["disk full"]), [])).toContain("500");
    expect(faultOf(error(500, "cannot reach registry 127.0.0.1:1"), new Set(["registry fails"]), [])).toBeUndefined();
  });

  it("takes the 4xx that a request or a prune explains", () => {
    expect(faultOf(error(409, "in use"), none, [])).toContain("409");
    expect(faultOf(error(409, "in use"), none, [409])).toBeUndefined();
    expect(faultOf(error(404, "No such container"), new Set(["pruning"]), [])).toBeUndefined();
    expect(faultOf(error(400, "no"), new Set(["pruning"]), [])).toContain("400");
  });

  it("takes an engine that is gone only when it was killed", () => {
    expect(faultOf(error(503, "Cannot connect", "ENGINE_UNREACHABLE"), none, [])).toContain("gone");
    expect(faultOf(error(503, "Cannot connect", "ENGINE_UNREACHABLE"), new Set(["engine down"]), [])).toBeUndefined();
  });
});

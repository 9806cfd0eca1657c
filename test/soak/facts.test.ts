import { describe, expect, it } from "vitest";
import { Facts } from "./facts.ts";

describe("Facts", () => {
  it("knows nothing of what it never heard of", () => {
    const facts = new Facts();
    expect(facts.certain("volume a")).toBe("absent");
    expect(facts.observe("volume a", "present")).toBe("volume a should be absent, but is present");
  });

  it("accepts both outcomes of what was never answered, and holds on to what was seen", () => {
    const facts = new Facts();
    facts.doubt("container a", "created");
    expect(facts.certain("container a")).toBeUndefined();
    expect(facts.observe("container a", "created")).toBeUndefined();
    expect(facts.certain("container a")).toBe("created");
    expect(facts.observe("container a", "absent")).toContain("should be created");
  });

  it("complains about an acknowledged change that is gone", () => {
    const facts = new Facts();
    facts.doubt("image a", "1");
    facts.know("image a", "1");
    expect(facts.observe("image a", "absent")).toBe("image a should be 1, but is absent");
  });

  it("takes a state with a star for all that begin like it", () => {
    const facts = new Facts();
    facts.know("container a", "stopped:*");
    expect(facts.certain("container a")).toBeUndefined();
    expect(facts.observe("container a", "stopped:3")).toBeUndefined();
    expect(facts.observe("container a", "stopped:4")).toBe("container a should be stopped:3, but is stopped:4");
  });

  it("lets a prune take what is unused, also what is made while it goes on, and nothing else", () => {
    const facts = new Facts();
    facts.know("container stopped", "stopped:0");
    facts.know("container running", "running");
    facts.know("volume a", "present");
    {
      using _ = facts.prune("container");
      facts.know("container new", "created");
    }
    facts.know("container later", "created");
    expect([...facts.possible("container stopped")]).toEqual(["stopped:0", "removing", "absent"]);
    expect([...facts.possible("container new")]).toEqual(["created", "removing", "absent"]);
    expect(facts.certain("container running")).toBe("running");
    expect(facts.certain("container later")).toBe("created");
    expect(facts.certain("volume a")).toBe("present");
  });

  it("lets what is seen on its way out go", () => {
    const facts = new Facts();
    facts.know("container a", "stopped:0");
    {
      using _ = facts.prune("container");
      expect(facts.observe("container a", "removing")).toBeUndefined();
    }
    expect(facts.observe("container a", "absent")).toBeUndefined();
  });
});

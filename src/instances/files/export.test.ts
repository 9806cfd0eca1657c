import { describe, expect, it } from "vitest";
import { plainRoots } from "../fake/doubles.ts";
import { TestEngine } from "../fake/test-engine.ts";

describe("export", () => {
  it("gives its confined root and the mounted root back when it can't pack", async () => {
    let open = 0;
    await using engine = new TestEngine({
      roots: {
        open: async (ctx, base) => {
          open++;
          return {
            ...(await plainRoots.open(ctx, base)),
            pack: () => Promise.reject(new Error("the client left")),
            [Symbol.asyncDispose]: async () => void open--,
          };
        },
      },
    });
    const id = await engine.create(["sleep"]);
    await expect(engine.service.export(engine.ctx, id)).rejects.toThrow("the client left");
    expect(open).toBe(0);
  });
});

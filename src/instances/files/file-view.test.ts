import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { plainRoots } from "../fake/doubles.ts";
import { TestEngine } from "../fake/test-engine.ts";

const bound = (source: string) =>
  ({ type: "bind", source, target: "/bound", readOnly: false, propagation: "rprivate", createSource: false }) as const;

/** Looks at a file on a bind, whose root and the container's own fail as they are told to. */
async function look(fails: (base: string, step: "open" | "close") => boolean) {
  const opened = new Set<string>();
  await using engine = new TestEngine({
    roots: {
      open: async (ctx, base) => {
        if (fails(base, "open")) throw new Error(`cannot open ${base}`);
        opened.add(base);
        return {
          ...(await plainRoots.open(ctx, base)),
          [Symbol.asyncDispose]: async () => {
            opened.delete(base);
            if (fails(base, "close")) throw new Error(`cannot close ${base}`);
          },
        };
      },
    },
  });
  const source = join(engine.dir, "bound");
  mkdirSync(source);
  const id = await engine.create(["sleep"], { mounts: [bound(source)] });
  const failure = await engine.service.statPath(engine.ctx, id, "/bound").then(
    () => "",
    (error: unknown) => String(error),
  );
  return { failure, opened: opened.size, mounted: engine.snapshots.mounted.size };
}

describe("FileView", () => {
  it("closes the other roots and unmounts when one can't be closed", async () => {
    for (const last of ["/root", "/bound"]) {
      const seen = await look((base, step) => step === "close" && base.endsWith(last));
      expect(seen).toEqual({ failure: expect.stringContaining("cannot close"), opened: 0, mounted: 0 });
    }
  });

  it("closes the other roots and unmounts when one can't be opened", async () => {
    const seen = await look((base, step) => step === "open" && base.endsWith("/bound"));
    expect(seen).toEqual({ failure: expect.stringContaining("cannot open"), opened: 0, mounted: 0 });
  });
});

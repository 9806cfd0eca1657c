/** A daemon that is started without the settings of its memory has them all the same. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { EngineProcess } from "../../support/engine-process.ts";
import { assertNothingLeft } from "../../support/leaks.ts";

it("replaces itself by a process with its memory bounded, under the same pid", async () => {
  const engine = await EngineProcess.start({ environment: { MALLOC_ARENA_MAX: "3" } });
  try {
    const words = readFileSync(`/proc/${engine.pid}/cmdline`, "utf8").split("\0");
    expect(words).toContain("--max-semi-space-size=2");
    expect(words).toContain("--disable-warning=ExperimentalWarning");
    expect(readFileSync(`/proc/${engine.pid}/environ`, "utf8").split("\0")).toContain("MALLOC_ARENA_MAX=3");
  } finally {
    await engine.remove();
  }
  await assertNothingLeft(engine);
});

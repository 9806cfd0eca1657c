import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { SampledFiles } from "./sampled-files.ts";

it("keeps files open while their group is followed, and reads them anew each time", () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-sampled-"));
  const opened = () =>
    readdirSync("/proc/self/fd").filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith(directory);
      } catch {
        return false; // The directory's own.
      }
    });
  const file = (name: string) => join(directory, name);
  try {
    const files = new SampledFiles();
    for (const name of ["a", "b"]) writeFileSync(file(name), `${name}\n`);
    expect(files.read("/one", file("a"))).toBe("a");
    expect(files.read("/two", file("b"))).toBe("b");
    expect(files.read("/two", file("missing"))).toBeUndefined();
    writeFileSync(file("a"), "other\n");
    expect(files.read("/one", file("a"))).toBe("other");
    expect(opened()).toHaveLength(2);
    files.retain(new Set(["/two"]));
    expect(opened()).toHaveLength(1);
    files.retain(new Set());
    expect(opened()).toHaveLength(0);
    expect(files.read("/one", file("a"))).toBe("other");
    files.retain(new Set());
  } finally {
    rmSync(directory, { recursive: true });
  }
});

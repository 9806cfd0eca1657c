import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { spreadSubdirectories } from "../../../src/host/directory-placement.ts";

describe("spreadSubdirectories", () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "berth-placement-"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it("sets the mark where the file system has it, keeps other flags, and may be repeated", () => {
    const marked = spreadSubdirectories(directory);
    const type = execFileSync("stat", ["-f", "-c", "%T", directory], { encoding: "utf8" }).trim();
    if (type === "ext2/ext3") expect(marked).toBe(true);
    if (!marked) return;
    expect(flags(directory)).toContain("T");
    execFileSync("chattr", ["+d", directory]);
    expect(spreadSubdirectories(directory)).toBe(true);
    expect(flags(directory)).toMatch(/d.*T|T.*d/);
  });

  it("does no harm where there is no such mark", () => {
    expect(spreadSubdirectories("/proc/self/fdinfo")).toBe(false);
  });
});

function flags(directory: string): string {
  return execFileSync("lsattr", ["-d", directory], { encoding: "utf8" }).split(" ")[0] ?? "";
}

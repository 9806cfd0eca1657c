import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findProgram, withSystemDirectories } from "./program-path.ts";

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-path-"));
  for (const name of ["a", "b"]) mkdirSync(join(directory, name));
  writeFileSync(join(directory, "a/plain"), "");
  writeFileSync(join(directory, "b/plain"), "");
  chmodSync(join(directory, "b/plain"), 0o755);
  mkdirSync(join(directory, "a/directory"));
});

afterAll(() => rmSync(directory, { recursive: true }));

describe("findProgram", () => {
  it("takes the first executable file of that name", () => {
    expect(findProgram("plain", `${directory}/a:${directory}/b`)).toBe(`${directory}/b/plain`);
  });

  it("takes neither a directory nor a file without permission", () => {
    expect(findProgram("directory", `${directory}/a`)).toBeUndefined();
    expect(findProgram("plain", `${directory}/a`)).toBeUndefined();
  });

  it("ignores relative directories of PATH", () => {
    expect(findProgram("plain", `:.:b`)).toBeUndefined();
  });

  it("resolves a name with a slash against the working directory", () => {
    expect(findProgram("b/plain", "", directory)).toBe(`${directory}/b/plain`);
    expect(findProgram(`${directory}/a/plain`, "")).toBeUndefined();
  });
});

describe("withSystemDirectories", () => {
  it("keeps what is there in front, without repeating it", () => {
    expect(withSystemDirectories("/opt/bin:/usr/bin")).toBe(
      "/opt/bin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin",
    );
  });
});

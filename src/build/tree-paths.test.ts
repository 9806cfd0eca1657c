import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ConfinedRoot } from "../archive/confined-root.ts";
import { background } from "../base/op-context.ts";
import { IgnorePatterns } from "../dockerfile/dockerignore.ts";
import { directoryRoots } from "./fake/directory-roots.ts";
import { excludedPaths, hasWildcards, listBelow, matchWildcards, resolvePath } from "./tree-paths.ts";

let directory: string;
let root: ConfinedRoot;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "berth-tree-"));
  for (const name of ["a.txt", "b.md", "dir/a.txt", "dir/sub/c.txt", "other/d.txt", "[x]"]) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), "");
  }
  await symlink("/dir", join(directory, "absolute"));
  await symlink("../../../dir/sub", join(directory, "dir/up"));
  await symlink("loop", join(directory, "loop"));
  await symlink("../nowhere/x", join(directory, "dir/dangling"));
  root = await directoryRoots.open(background(), directory);
});

afterAll(() => rm(directory, { recursive: true }));

describe("resolvePath", () => {
  it.each([
    ["dir/a.txt", "/dir/a.txt", "file"],
    ["/absolute/a.txt", "/dir/a.txt", "file"],
    ["dir/up/c.txt", "/dir/sub/c.txt", "file"],
    ["dir/up/../a.txt", "/dir/a.txt", "file"],
    ["../../a.txt", "/a.txt", "file"],
    ["absolute", "/dir", "directory"],
    ["/", "/", "directory"],
    ["nope/deeper", "/nope/deeper", undefined],
    ["dir/dangling", "/nowhere/x", undefined],
  ])("%s is %s, a %s", async (path, expected, kind) => {
    const found = await resolvePath(background(), root, path);
    expect([found.path, found.stat?.kind]).toEqual([expected, kind]);
  });

  it("gives up on a loop", async () => {
    await expect(resolvePath(background(), root, "loop")).rejects.toThrow(/too many levels of symbolic links/);
  });
});

describe("matchWildcards", () => {
  it.each([
    ["*.txt", ["a.txt"]],
    ["*/*.txt", ["dir/a.txt", "other/d.txt"]],
    ["d?r/su[a-c]/*", ["dir/sub/c.txt"]],
    ["absolute/*", []],
    ["[[]x]", ["[x]"]],
    ["*/", ["[x]", "a.txt", "absolute", "b.md", "dir", "loop", "other"]],
    ["none*", []],
  ])("%s is %j", async (pattern, expected) => {
    expect(await matchWildcards(listBelow(directory), pattern)).toEqual(expected);
  });

  it("knows a wildcard when it is not escaped", () => {
    expect(["a*", "a?", "[a]", "a\\*", "a\\\\*", "plain"].map(hasWildcards)).toEqual([
      true,
      true,
      true,
      false,
      true,
      false,
    ]);
  });
});

describe("excludedPaths", () => {
  it.each([
    [["dir"], ["dir"]],
    [
      ["dir", "!dir/sub"],
      ["dir/a.txt", "dir/dangling", "dir/up"],
    ],
    [["*.txt"], ["a.txt"]],
    [["**/*.txt"], ["a.txt", "dir/a.txt", "dir/sub/c.txt", "other/d.txt"]],
    [[], []],
  ])("%j leaves out %j", async (patterns, expected) => {
    expect([...(await excludedPaths(listBelow(directory), "", new IgnorePatterns(patterns)))].sort()).toEqual(expected);
  });
});

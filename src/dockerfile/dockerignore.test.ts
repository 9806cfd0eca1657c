import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BerthError } from "../base/errors.ts";
import { IgnorePatterns, readIgnoreFile } from "./dockerignore.ts";

describe("readIgnoreFile", () => {
  it("drops comments and blanks, cleans and anchors", () => {
    expect(
      readIgnoreFile("\uFEFF# comment\n\n  /abs/path  \n./a//b/../c/\n!keep \n ! /x\r\n # not a comment\n/\n"),
    ).toEqual(["abs/path", "a/c", "!keep", "!x", "# not a comment", "/"]);
  });
});

describe("IgnorePatterns", () => {
  // pattern, file, ignored: the cases of Docker's documentation and the traps of moby's matcher.
  it.each([
    ["**", "file", true],
    ["**", "a/b/c", true],
    ["**/", "a/b", true],
    ["**/**", "a/b", true],
    ["dir/**", "dir/file", true],
    ["dir/**", "dir", false],
    ["dir/**", "other/file", false],
    ["**/dir2/*", "dir/dir2/file", true],
    ["**/dir2/*", "dir/dir2/dir2/file", true],
    ["**file", "dir/xfile", true],
    ["**/file", "file", true],
    ["**/file", "dir/file", true],
    ["**/file", "dir/xfile", false],
    ["**/file*", "dir/dir/file.txt", true],
    ["**/**/*.txt", "dir/dir/file.txt", true],
    ["a**/*.txt", "a/dir/file.txt", true],
    ["a/*.txt", "a/dir/file.txt", false],
    ["a/*.txt", "a/file.txt", true],
    ["a[b-d]e", "ace", true],
    ["a[b-d]e", "aze", false],
    ["a[^b-d]e", "aze", true],
    ["abc.def", "abcdef", false],
    ["abc?def", "abcZdef", true],
    ["a\\\\", "a\\", true],
    ["a\\*b", "a*b", true],
    ["a\\*b", "axb", false],
    ["**/foo/bar", "foo/bar", true],
    ["**/foo/bar", "dir/foo/bar", true],
    ["**/.foo", ".foo", true],
    ["**/.foo", "bar.foo", false],
    ["*/temp*", "somedir/temporary.txt", true],
    ["*/*/temp*", "somedir/temporary.txt", false],
    ["temp?", "tempa", true],
    ["node_modules", "node_modules/a/b.js", true],
    ["docs", "src/docs", false],
    [".", "a", false],
  ])("%j on %j: %j", (pattern, file, ignored) => {
    expect(new IgnorePatterns([pattern]).ignores(file)).toBe(ignored);
  });

  it.each([
    [["*.md", "!README.md"], "README.md", false],
    [["*.md", "!README*.md", "README-secret.md"], "README-secret.md", true],
    [["*.md", "README-secret.md", "!README*.md"], "README-secret.md", false],
    [["dir", "!dir/keep"], "dir/keep", false],
    [["dir", "!dir/keep"], "dir/other", true],
    [["**", "!src"], "src/a/b", false],
    [["**", "!src", "src/secret"], "src/secret/key", true],
  ])("the last of %j that matches %j decides: %j", (patterns, file, ignored) => {
    expect(new IgnorePatterns(patterns).ignores(file)).toBe(ignored);
  });

  it("refuses a pattern that is none, naming it", () => {
    expect(() => new IgnorePatterns(["a[b"])).toThrow(
      /invalid pattern "a\[b" in \.dockerignore: syntax error in pattern/,
    );
    expect(() => new IgnorePatterns(["!"])).toThrow(/illegal exclusion pattern/);
  });

  it("answers at once for a pattern made to backtrack", () => {
    const started = performance.now();
    expect(new IgnorePatterns([`${"*a".repeat(40)}b`]).ignores("a".repeat(200))).toBe(false);
    expect(performance.now() - started).toBeLessThan(1000);
  });

  it("never throws anything but its own error", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (text, file) => {
        try {
          new IgnorePatterns(readIgnoreFile(text)).ignores(file);
        } catch (error) {
          expect(error).toBeInstanceOf(BerthError);
        }
      }),
    );
  });
});

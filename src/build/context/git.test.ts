import { expect, it } from "vitest";
import { isGitUrl } from "./git.ts";

it.each([
  ["https://example.org/a.git", true],
  ["https://example.org/a.git#v1:dir", true],
  ["git://example.org/a", true],
  ["git@example.org:a/b.git", true],
  ["ssh://git@example.org/a", true],
  ["github.com/a/b", true],
  ["https://example.org/a.tar.gz", false],
  ["https://example.org/Dockerfile", false],
])("%s: %s", (url, expected) => {
  expect(isGitUrl(url)).toBe(expected);
});

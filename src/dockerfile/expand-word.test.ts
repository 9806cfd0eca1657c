import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BerthError } from "../base/errors.ts";
import { expandWord, expandWords } from "./expand-word.ts";

const env: Readonly<Record<string, string>> = {
  A: "value",
  EMPTY: "",
  PATH_: "/usr/local/bin/tool.tar.gz",
  WORDS: "one two",
  "1": "first",
};
const lookup = (name: string): string | undefined => (Object.hasOwn(env, name) ? env[name] : undefined);
const options = { escape: "\\", lookup } as const;

describe("expandWord", () => {
  it.each([
    ["hello", "hello"],
    ["he'll'o", "hello"],
    ["he'll\"'o", 'hell"o'],
    ['he"ll"o', "hello"],
    ['"he\\"ll"o', 'he"llo'],
    ['"a\\nb"', "a\\nb"],
    ["a\\nb", "anb"],
    ["'a\\b'", "a\\b"],
    ["trailing\\", "trailing"],
    ["$A", "value"],
    ["${A}x", "valuex"],
    ["$A$A", "valuevalue"],
    ["$Ax", ""],
    ["'$A'", "$A"],
    ['"$A"', "value"],
    ["\\$A", "$A"],
    ['"\\$A"', "$A"],
    ["$", "$"],
    ["$.", "$."],
    ["a$", "a$"],
    ["$1x", "firstx"],
    ["${NOPE}", ""],
    ["${A:-w}", "value"],
    ["${NOPE:-w}", "w"],
    ["${EMPTY:-w}", "w"],
    ["${EMPTY-w}", ""],
    ["${NOPE-w}", "w"],
    ["${A:+w}", "w"],
    ["${EMPTY:+w}", ""],
    ["${EMPTY+w}", "w"],
    ["${NOPE+w}", ""],
    ["${A:?no}", "value"],
    ["${EMPTY?no}", ""],
    ["${NOPE:-${EMPTY:-${A}}}", "value"],
    ["${NOPE:-a b}", "a b"],
    ["${NOPE:-'}'}", "}"],
    ["${NOPE:-$A:$A}", "value:value"],
    ["${PATH_#*/}", "usr/local/bin/tool.tar.gz"],
    ["${PATH_##*/}", "tool.tar.gz"],
    ["${PATH_%.*}", "/usr/local/bin/tool.tar"],
    ["${PATH_%%.*}", "/usr/local/bin/tool"],
    ["${PATH_%?z}", "/usr/local/bin/tool.tar."],
    ["${PATH_#nomatch}", "/usr/local/bin/tool.tar.gz"],
    ["${A#\\*}", "value"],
    ["${PATH_/bin/sbin}", "/usr/local/sbin/tool.tar.gz"],
    ["${PATH_//\\//-}", "-usr-local-bin-tool.tar.gz"],
    ["${PATH_//l/L}", "/usr/LocaL/bin/tooL.tar.gz"],
    ["${PATH_/l*b/_}", "/usr/_in/tool.tar.gz"],
    ["${NOPE/a/b}", ""],
    ["<<EOF", "<<EOF"],
    ["日本${A}語", "日本value語"],
    ["$A語", ""],
  ])("%s is %j", (word, expected) => {
    expect(expandWord(word, options)).toBe(expected);
  });

  it.each([
    ["${A", "missing '}'"],
    ["${A:-x", "missing '}'"],
    ["${}", "bad substitution"],
    ["${:x}", "bad substitution"],
    ["${{A}}", "bad substitution"],
    ["${A:x}", "unsupported modifier (:x)"],
    ["${A!}", "unsupported modifier (!)"],
    ["${A:#x}", "unsupported modifier (:#)"],
    ["${NOPE:?is missing}", "NOPE: is missing"],
    ["${NOPE?}", "NOPE: is not allowed to be unset"],
    ["${EMPTY:?}", "EMPTY: is not allowed to be empty"],
    ["'abc", "matching single-quote"],
    ['"abc', "matching double-quote"],
    ["${A#\\a}", "invalid escape '\\a'"],
    ["${A/x}", "missing '/' in ${}"],
  ])("%s is refused: %s", (word, reason) => {
    expect(() => expandWord(word, options)).toThrow(
      expect.objectContaining({ code: "DOCKERFILE_SYNTAX", message: expect.stringContaining(reason) }),
    );
  });

  it("takes the backtick as escape character when told", () => {
    expect(expandWord("c:\\dir\\$A`$A", { ...options, escape: "`" })).toBe("c:\\dir\\value$A");
  });

  it("refuses a value that outgrows memory, and nesting that outgrows the stack", () => {
    expect(() => expandWord("$A".repeat(600_000), options)).toThrow(/larger than 1 MiB/);
    expect(() => expandWord(`${"${X:-".repeat(5000)}${"}".repeat(5000)}`, options)).toThrow(/nested more than/);
  });

  it("never throws anything but its own error", () => {
    const piece = fc.constantFrom(
      "$",
      "{",
      "}",
      "A",
      "NOPE",
      ":",
      "-",
      "+",
      "?",
      "#",
      "%",
      "/",
      "*",
      "'",
      '"',
      "\\",
      " ",
      "<",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        try {
          expandWords(pieces.join(""), options);
        } catch (error) {
          expect(error).toBeInstanceOf(BerthError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("expandWords", () => {
  it.each([
    ["$WORDS", ["one", "two"]],
    ['"$WORDS"', ["one two"]],
    ["a b\\ c 'd e'", ["a", "b c", "d e"]],
    ["x$WORDS", ["xone", "two"]],
    ["$EMPTY", []],
    ["  ", []],
  ])("%s is %j", (word, expected) => {
    expect(expandWords(word, options)).toEqual(expected);
  });
});

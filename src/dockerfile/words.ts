/** Splitting an instruction's line into its keyword, flags and arguments. Quotes stay, for {@link expandWord} to take away. */
import { syntaxError } from "./errors.ts";
import type { EscapeCharacter } from "./instruction.ts";

export interface SplitInstruction {
  readonly keyword: string;
  /** "--from=x", unquoted. */
  readonly flags: readonly string[];
  readonly rest: string;
}

export function splitInstruction(line: string, escape: EscapeCharacter): SplitInstruction {
  const match = /^(\S+)\s*([\s\S]*)$/.exec(line.trim());
  const { flags, rest } = takeFlags(match?.[2] ?? "", escape);
  return { keyword: match?.[1] ?? "", flags, rest: rest.trim() };
}

/** The words of `name=value` lists: white space separates, unless quoted or escaped. */
export function splitQuotedWords(text: string, escape: EscapeCharacter): readonly string[] {
  const words: string[] = [];
  let at = 0;
  while (at < text.length) {
    if (isSpace(text.charAt(at))) {
      at++;
      continue;
    }
    const { word, end } = readQuotedWord(text, at, escape);
    if (word !== "") words.push(word);
    at = end;
  }
  return words;
}

/** Words between white space, with nothing special. */
export function splitPlainWords(text: string): readonly string[] {
  return text.split(/[\t\v\f\r ]+/).filter((word) => word !== "");
}

/** The strings of a JSON array; undefined when the text is none (it is then in shell form). */
export function parseJsonWords(text: string): readonly string[] | undefined {
  if (!text.trimStart().startsWith("[")) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  return value.map((item) =>
    typeof item === "string"
      ? item
      : syntaxError("when using JSON array syntax, arrays must be comprised of strings only"),
  );
}

function takeFlags(
  text: string,
  escape: EscapeCharacter,
): { readonly flags: readonly string[]; readonly rest: string } {
  const flags: string[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && isSpace(text.charAt(at))) at++;
    if (!text.startsWith("--", at)) return { flags, rest: text.slice(at) };
    const { word, end } = readFlag(text, at, escape);
    at = end;
    if (word === "--") return { flags, rest: text.slice(at) };
    flags.push(word);
  }
}

/** A flag, with quotes and escapes taken away. */
function readFlag(text: string, start: number, escape: string): { readonly word: string; readonly end: number } {
  let word = "";
  let quote = "";
  let at = start;
  for (; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === escape) {
      // At the very end it escapes nothing and is dropped.
      word += text.charAt(++at);
    } else if (quote !== "") {
      if (character === quote) quote = "";
      else word += character;
    } else if (isSpace(character)) break;
    else if (character === "'" || character === '"') quote = character;
    else word += character;
  }
  return { word, end: at };
}

/** A word as it is written, quotes and escapes included. */
function readQuotedWord(text: string, start: number, escape: string): { readonly word: string; readonly end: number } {
  let word = "";
  let quote = "";
  let at = start;
  for (; at < text.length; at++) {
    const character = text.charAt(at);
    if (quote === "" && isSpace(character)) break;
    if (character === escape && quote !== "'") {
      if (at + 1 >= text.length) continue;
      word += character + text.charAt(++at);
      continue;
    }
    if (quote === "" && (character === "'" || character === '"')) quote = character;
    else if (character === quote) quote = "";
    word += character;
  }
  return { word, end: at };
}

function isSpace(character: string): boolean {
  return /\s/.test(character);
}

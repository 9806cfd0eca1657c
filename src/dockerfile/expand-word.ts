/** Variables, quotes and escapes inside the words of instructions (Dockerfile reference, "Environment replacement"). */
import { isBerthError } from "../base/errors.ts";
import { syntaxError } from "./errors.ts";
import { compileReversedShellPattern, compileShellPattern } from "./glob.ts";
import type { EscapeCharacter } from "./instruction.ts";

export interface ExpandOptions {
  readonly escape: EscapeCharacter;
  readonly lookup: (name: string) => string | undefined;
  /** Keep quotes instead of taking them away. */
  readonly rawQuotes?: boolean;
  /** Keep escape characters. */
  readonly rawEscapes?: boolean;
  /** Leave references to unset variables as they are. */
  readonly keepUnset?: boolean;
  /** Quotes are characters like any other (the content of heredocs). */
  readonly plainQuotes?: boolean;
}

/** Replaces variables and takes away quotes and escapes. */
export function expandWord(word: string, options: ExpandOptions): string {
  return withWord(word, () => new WordExpander(word, options).expand().text);
}

/** The same, then split at white space that was not quoted. A variable may become several words. */
export function expandWords(word: string, options: ExpandOptions): readonly string[] {
  return withWord(word, () => new WordExpander(word, options).expand().words);
}

/** An instruction that doubles a variable again and again must not eat the engine's memory. */
const maxLength = 1 << 20;
const maxDepth = 100;
/** Replacing takes time in the square of this. */
const maxReplaceLength = 1 << 13;

interface Expansion {
  readonly text: string;
  readonly words: readonly string[];
}

class WordExpander {
  readonly #source: string;
  readonly #options: ExpandOptions;
  #at = 0;
  #depth = 0;
  #rawEscapes: boolean;

  constructor(source: string, options: ExpandOptions) {
    this.#source = source;
    this.#options = options;
    this.#rawEscapes = options.rawEscapes ?? false;
  }

  expand(): Expansion {
    return this.#until(undefined, this.#rawEscapes);
  }

  /** Up to (and past) the character `stop`; undefined is the end. */
  #until(stop: string | undefined, rawEscapes: boolean): Expansion {
    if (++this.#depth > maxDepth) syntaxError(`substitutions are nested more than ${maxDepth} deep`);
    const outerRawEscapes = this.#rawEscapes;
    this.#rawEscapes = rawEscapes;
    const words = new WordList();
    let text = "";
    for (;;) {
      const character = this.#peek();
      if (character === undefined) {
        if (stop !== undefined) syntaxError(`unexpected end of statement while looking for matching ${stop}`);
        break;
      }
      if (character === stop) {
        this.#at++;
        break;
      }
      const plainQuotes = this.#options.plainQuotes === true;
      if (character === "$") {
        const value = this.#dollar();
        text += value;
        words.addUnquoted(value);
      } else if (character === "<") {
        const value = this.#possibleHeredoc();
        text += value;
        words.addQuoted(value);
      } else if (!plainQuotes && (character === "'" || character === '"')) {
        const value = character === "'" ? this.#singleQuoted() : this.#doubleQuoted();
        text += value;
        words.addQuoted(value);
      } else if (character === this.#options.escape) {
        this.#at++;
        const escaped = this.#next();
        if (this.#rawEscapes) {
          text += character;
          words.addQuoted(character);
        }
        if (escaped === undefined) break;
        text += escaped;
        words.addQuoted(escaped);
      } else {
        this.#at++;
        text += character;
        words.addUnquoted(character);
      }
      if (text.length > maxLength) syntaxError("the expanded value is larger than 1 MiB");
    }
    this.#rawEscapes = outerRawEscapes;
    this.#depth--;
    return { text, words: words.finish() };
  }

  /** Everything up to the next single quote; nothing can be escaped there. */
  #singleQuoted(): string {
    const end = this.#source.indexOf("'", this.#at + 1);
    if (end < 0) syntaxError("unexpected end of statement while looking for matching single-quote");
    const quoted = this.#source.slice(this.#at, end + 1);
    this.#at = end + 1;
    return this.#options.rawQuotes === true ? quoted : quoted.slice(1, -1);
  }

  #doubleQuoted(): string {
    const quote = this.#options.rawQuotes === true ? '"' : "";
    let text = quote;
    this.#at++;
    for (;;) {
      const character = this.#peek();
      if (character === undefined) {
        syntaxError("unexpected end of statement while looking for matching double-quote");
      }
      if (character === "$") {
        text += this.#dollar();
        continue;
      }
      this.#at++;
      if (character === '"') return text + quote;
      if (character !== this.#options.escape) {
        text += character;
        continue;
      }
      if (this.#rawEscapes) text += character;
      const escaped = this.#peek();
      if (escaped === undefined) continue;
      // Only these can be escaped in double quotes; before anything else the escape character is literal.
      if (escaped === '"' || escaped === "$" || escaped === this.#options.escape) {
        this.#at++;
        text += escaped;
      } else text += character;
    }
  }

  #dollar(): string {
    this.#at++;
    if (this.#peek() !== "{") {
      const name = this.#name();
      if (name === "") return "$";
      return this.#options.lookup(name) ?? (this.#options.keepUnset === true ? `$${name}` : "");
    }
    this.#at++;
    const first = this.#peek();
    if (first === undefined) syntaxError("syntax error: missing '}'");
    if (first === "{" || first === "}" || first === ":") syntaxError("syntax error: bad substitution");
    const name = this.#name();
    const modifier = this.#next();
    const value = this.#options.lookup(name);
    const keep = this.#options.keepUnset === true && value === undefined;
    switch (modifier) {
      case "}":
        return keep ? `\${${name}}` : (value ?? "");
      case ":": {
        const operator = this.#next() ?? "";
        if (operator !== "-" && operator !== "+" && operator !== "?") {
          syntaxError(`unsupported modifier (:${operator}) in substitution`);
        }
        const word = this.#modifierWord("}", false);
        return keep ? `\${${name}:${operator}${word}}` : substitute(name, value, operator, word, true);
      }
      case "-":
      case "+":
      case "?": {
        const word = this.#modifierWord("}", false);
        return keep ? `\${${name}${modifier}${word}}` : substitute(name, value, modifier, word, false);
      }
      case "#":
      case "%": {
        const pattern = this.#modifierWord("}", true);
        return keep ? `\${${name}${modifier}${pattern}}` : trim(value ?? "", modifier, pattern);
      }
      case "/": {
        const all = this.#peek() === "/";
        if (all) this.#at++;
        const pattern = this.#modifierWord("/", true);
        const replacement = this.#modifierWord("}", true);
        return keep ? `\${${name}/${pattern}/${replacement}}` : replace(value ?? "", pattern, replacement, all);
      }
      case undefined:
        return syntaxError("syntax error: missing '}'");
      default:
        return syntaxError(`unsupported modifier (${modifier}) in substitution`);
    }
  }

  /** The part of `${name…}` up to `stop`, itself expanded. */
  #modifierWord(stop: "}" | "/", rawEscapes: boolean): string {
    // Without its end the likely mistake is a missing brace, whatever the scan ran into.
    if (!this.#source.includes(stop, this.#at)) {
      syntaxError(stop === "}" ? "syntax error: missing '}'" : "syntax error: missing '/' in ${}");
    }
    return this.#until(stop, rawEscapes).text;
  }

  /** A variable's name, a positional or a special parameter; "" when there is none. */
  #name(): string {
    const rest = this.#source.slice(this.#at, this.#at + 4096);
    const name = /^(?:\p{Nd}+|[@*#?\-$!]|[\p{L}_][\p{L}\p{Nd}_]*)/u.exec(rest)?.[0] ?? "";
    this.#at += name.length;
    return name;
  }

  /** `<<` with the white space behind it stays one word with its delimiter. */
  #possibleHeredoc(): string {
    const found = /^<(?:<[\t\r ]*)?/.exec(this.#source.slice(this.#at, this.#at + 1024))?.[0] ?? "<";
    this.#at += found.length;
    return found;
  }

  #peek(): string | undefined {
    return this.#at < this.#source.length ? String.fromCodePoint(this.#source.codePointAt(this.#at) ?? 0) : undefined;
  }

  #next(): string | undefined {
    const character = this.#peek();
    if (character !== undefined) this.#at += character.length;
    return character;
  }
}

/** Collects words; quoted text never splits. */
class WordList {
  readonly #words: string[] = [];
  #current: string | undefined;

  addUnquoted(text: string): void {
    for (const character of text) {
      if (/\s/.test(character)) this.#endWord();
      else this.addQuoted(character);
    }
  }

  addQuoted(text: string): void {
    this.#current = (this.#current ?? "") + text;
  }

  finish(): readonly string[] {
    this.#endWord();
    return this.#words;
  }

  #endWord(): void {
    if (this.#current !== undefined && this.#current !== "") this.#words.push(this.#current);
    this.#current = undefined;
  }
}

function substitute(
  name: string,
  value: string | undefined,
  operator: "-" | "+" | "?",
  word: string,
  emptyIsUnset: boolean,
): string {
  const present = value !== undefined && !(emptyIsUnset && value === "");
  switch (operator) {
    case "-":
      return present ? value : word;
    case "+":
      return present ? word : "";
    case "?": {
      if (present) return value;
      const state = value === undefined ? "unset" : "empty";
      return syntaxError(`${name}: ${word === "" ? `is not allowed to be ${state}` : word}`);
    }
  }
}

/** `#` and `%` take away the shortest match, doubled the longest. */
function trim(value: string, side: "#" | "%", word: string): string {
  const doubled = word.startsWith(side);
  const pattern = doubled ? word.slice(1) : word;
  const want = doubled ? "longest" : "shortest";
  if (side === "#") return value.slice(compileShellPattern(pattern).prefixLength(value, want) ?? 0);
  const reversed = Array.from(value).reverse().join("");
  const length = compileReversedShellPattern(pattern).prefixLength(reversed, want) ?? 0;
  return value.slice(0, value.length - length);
}

function replace(value: string, pattern: string, replacement: string, all: boolean): string {
  if (value.length > maxReplaceLength) syntaxError("a value longer than 8 KiB can't be searched for a pattern");
  const glob = compileShellPattern(pattern);
  let result = "";
  let at = 0;
  while (at < value.length) {
    const length = glob.prefixLength(value.slice(at), "longest");
    if (length === undefined || length === 0) {
      result += value.charAt(at++);
      continue;
    }
    result += replacement;
    at += length;
    if (result.length > maxLength) syntaxError("the expanded value is larger than 1 MiB");
    if (!all) break;
  }
  return result + value.slice(at);
}

/** Says in which word it went wrong. */
function withWord<T>(word: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (isBerthError(error, "DOCKERFILE_SYNTAX"))
      syntaxError(`failed to process ${JSON.stringify(word)}: ${error.message}`);
    throw error;
  }
}

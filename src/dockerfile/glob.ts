/**
 * Wildcard patterns, matched in time proportional to pattern times text whatever the pattern (no backtracking: build
 * contexts and Dockerfiles are anybody's). The three dialects that Dockerfiles use differ in what they compile to.
 */
import { syntaxError } from "./errors.ts";

export class Glob {
  readonly #tokens: readonly GlobToken[];

  constructor(tokens: readonly GlobToken[]) {
    this.#tokens = tokens;
  }

  matches(text: string): boolean {
    return this.#run(text, "whole") !== undefined;
  }

  /** Length of the shortest or longest prefix of `text` that matches; undefined when none does. */
  prefixLength(text: string, want: "shortest" | "longest"): number | undefined {
    return this.#run(text, want);
  }

  #run(text: string, want: "whole" | "shortest" | "longest"): number | undefined {
    const accept = this.#tokens.length;
    let states = this.#closure([0]);
    let found = states.has(accept) ? 0 : undefined;
    let length = 0;
    for (const character of text) {
      if (want === "shortest" && found !== undefined) return found;
      if (states.size === 0) break;
      states = this.#closure(this.#step(states, character));
      length += character.length;
      if (states.has(accept)) found = length;
    }
    return want === "whole" && found !== text.length ? undefined : found;
  }

  #step(states: ReadonlySet<number>, character: string): readonly number[] {
    const next: number[] = [];
    for (const state of states) {
      const token = this.#tokens[state];
      if (token === undefined) continue;
      switch (token.kind) {
        case "literal":
          if (token.character === character) next.push(state + 1);
          break;
        case "one":
          if (token.crossesSeparator || character !== "/") next.push(state + 1);
          break;
        case "class":
          if (character !== "/" && inClass(token, character)) next.push(state + 1);
          break;
        case "many":
          if (token.crossesSeparator || character !== "/") next.push(state);
          break;
        case "directories":
          break;
        case "directories-body":
          next.push(state);
          if (character === "/") next.push(state + 1);
          break;
      }
    }
    return next;
  }

  /** States reachable without consuming a character. */
  #closure(from: readonly number[]): ReadonlySet<number> {
    const reached = new Set<number>();
    const pending = [...from];
    for (let state = pending.pop(); state !== undefined; state = pending.pop()) {
      if (reached.has(state)) continue;
      reached.add(state);
      const kind = this.#tokens[state]?.kind;
      if (kind === "many") pending.push(state + 1);
      // Any number of whole directories, none included: into the body, or past it.
      else if (kind === "directories") pending.push(state + 1, state + 2);
    }
    return reached;
  }
}

export type GlobToken =
  | { readonly kind: "literal"; readonly character: string }
  | { readonly kind: "one" | "many"; readonly crossesSeparator: boolean }
  | { readonly kind: "class"; readonly negated: boolean; readonly ranges: readonly (readonly [string, string])[] }
  /** Is always followed by its body. */
  | { readonly kind: "directories" | "directories-body" };

/** Patterns of COPY and ADD sources: Go's `filepath.Match`. */
export function compilePathPattern(pattern: string): Glob {
  return new Glob(pathTokens(pattern, false));
}

/** Patterns of `.dockerignore`: those of {@link compilePathPattern}, and `**` for any number of directories. */
export function compileIgnorePattern(pattern: string): Glob {
  // "**name" without a slash and without further wildcards is any path that ends in "name", as moby's matcher has it.
  const suffix = /^\*\*([^/*?[\]\\][^*?[\]\\]*)$/.exec(pattern)?.[1];
  if (suffix !== undefined) return new Glob([{ kind: "many", crossesSeparator: true }, ...literals(suffix)]);
  return new Glob(pathTokens(pattern, true));
}

/** Patterns of `${name#pattern}` and its like: `*`, `?`, and `\` before `*`, `?`, `\`, `}` or `/`; separators are nothing special. */
export function compileShellPattern(pattern: string): Glob {
  return new Glob(shellTokens(pattern));
}

/** The same pattern read from its end, for suffixes. */
export function compileReversedShellPattern(pattern: string): Glob {
  return new Glob([...shellTokens(pattern)].reverse());
}

function shellTokens(pattern: string): readonly GlobToken[] {
  const tokens: GlobToken[] = [];
  const characters = Array.from(pattern);
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i] ?? "";
    if (character === "*") tokens.push({ kind: "many", crossesSeparator: true });
    else if (character === "?") tokens.push({ kind: "one", crossesSeparator: true });
    else if (character !== "\\") tokens.push({ kind: "literal", character });
    else {
      const escaped = characters[++i] ?? "";
      if (!["*", "?", "\\", "}", "/"].includes(escaped)) {
        syntaxError(`invalid pattern (${pattern}) in substitution: invalid escape '\\${escaped}'`);
      }
      tokens.push({ kind: "literal", character: escaped });
    }
  }
  return tokens;
}

function pathTokens(pattern: string, doubleStar: boolean): readonly GlobToken[] {
  const tokens: GlobToken[] = [];
  const characters = Array.from(pattern);
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i] ?? "";
    if (character === "*" && doubleStar && characters[i + 1] === "*") {
      i++;
      if (characters[i + 1] === "/") i++;
      if (i + 1 >= characters.length) tokens.push({ kind: "many", crossesSeparator: true });
      else tokens.push({ kind: "directories" }, { kind: "directories-body" });
    } else if (character === "*") tokens.push({ kind: "many", crossesSeparator: false });
    else if (character === "?") tokens.push({ kind: "one", crossesSeparator: false });
    else if (character === "[") {
      const { token, end } = readClass(characters, i, pattern);
      tokens.push(token);
      i = end;
    } else if (character === "\\") {
      const escaped = characters[++i];
      if (escaped === undefined) syntaxError(`syntax error in pattern ${pattern}`);
      tokens.push({ kind: "literal", character: escaped });
    } else tokens.push({ kind: "literal", character });
  }
  return tokens;
}

/** `[a-z]`, `[^a-z]`; `end` is the index of the closing bracket. */
function readClass(
  characters: readonly string[],
  start: number,
  pattern: string,
): { readonly token: GlobToken; readonly end: number } {
  const bad = (): never => syntaxError(`syntax error in pattern ${pattern}`);
  let i = start + 1;
  const negated = characters[i] === "^";
  if (negated) i++;
  const ranges: [string, string][] = [];
  const readCharacter = (): string => {
    let character = characters[i++];
    if (character === undefined || character === "-" || character === "]") return bad();
    if (character === "\\") character = characters[i++];
    return character ?? bad();
  };
  while (characters[i] !== "]" || ranges.length === 0) {
    const low = readCharacter();
    let high = low;
    if (characters[i] === "-") {
      i++;
      high = readCharacter();
    }
    ranges.push([low, high]);
  }
  return { token: { kind: "class", negated, ranges }, end: i };
}

function inClass(token: Extract<GlobToken, { kind: "class" }>, character: string): boolean {
  return token.ranges.some(([low, high]) => low <= character && character <= high) !== token.negated;
}

function literals(text: string): readonly GlobToken[] {
  return Array.from(text, (character) => ({ kind: "literal", character }));
}

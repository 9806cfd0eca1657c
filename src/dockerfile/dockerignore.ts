/** `.dockerignore`: which files of a build context are left out. */
import path from "node:path/posix";
import { isBerthError } from "../base/errors.ts";
import { dockerfileErrors } from "./errors.ts";
import { compileIgnorePattern, type Glob } from "./glob.ts";

/** An ordered list of patterns; the last one that matches decides. */
export class IgnorePatterns {
  readonly #patterns: readonly IgnorePattern[];

  /** `patterns` as {@link readIgnoreFile} returns them, or as in `COPY --exclude`. Throws `DOCKERIGNORE_INVALID`. */
  constructor(patterns: readonly string[]) {
    this.#patterns = patterns.flatMap((pattern) => compile(pattern) ?? []);
  }

  get isEmpty(): boolean {
    return this.#patterns.length === 0;
  }

  /** Whether something below an ignored directory may be taken back in by `!pattern`. */
  get hasExceptions(): boolean {
    return this.#patterns.some(({ exception }) => exception);
  }

  /** `file` is relative to the context's root, with slashes. A pattern that matches a directory matches all below it. */
  ignores(file: string): boolean {
    const cleaned = path.normalize(file).replace(/^\/+/, "");
    // The root itself can't be left out.
    if (cleaned === "." || cleaned === "") return false;
    const parts = cleaned.split("/");
    const prefixes = parts.map((_, index) => parts.slice(0, index + 1).join("/")).reverse();
    let ignored = false;
    for (const { glob, exception } of this.#patterns) {
      // Only a pattern that would change the answer is worth trying.
      if (exception === ignored && prefixes.some((prefix) => glob.matches(prefix))) ignored = !exception;
    }
    return ignored;
  }
}

/** The patterns in a `.dockerignore` file: comments and blanks dropped, paths cleaned, anchored at the context's root. */
export function readIgnoreFile(text: string): readonly string[] {
  return text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .map((line) => {
      const exception = line.startsWith("!");
      const pattern = exception ? line.slice(1).trim() : line;
      const cleaned = pattern === "" ? "" : path.normalize(pattern).replace(/(?<=.)\/$/, "");
      return (exception ? "!" : "") + (cleaned.length > 1 ? cleaned.replace(/^\//, "") : cleaned);
    });
}

interface IgnorePattern {
  readonly glob: Glob;
  readonly exception: boolean;
}

function compile(text: string): IgnorePattern | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  const exception = trimmed.startsWith("!");
  const body = exception ? trimmed.slice(1) : trimmed;
  if (body === "")
    throw dockerfileErrors.DOCKERIGNORE_INVALID({ pattern: text, reason: 'illegal exclusion pattern: "!"' });
  const cleaned = path.normalize(body).replace(/(?<=.)\/$/, "");
  try {
    return { glob: compileIgnorePattern(cleaned), exception };
  } catch (error) {
    if (!isBerthError(error, "DOCKERFILE_SYNTAX")) throw error;
    throw dockerfileErrors.DOCKERIGNORE_INVALID({ pattern: text, reason: error.message }, { cause: error });
  }
}

/** From a Dockerfile's text to one string for each instruction: directives, comments, continuation lines, heredocs. */
import { dockerfileErrors, locate, syntaxError } from "./errors.ts";
import { findHeredocs, mayHoldHeredoc } from "./heredoc.ts";
import type { EscapeCharacter, Heredoc, SourcePosition } from "./instruction.ts";

export interface SourceFile {
  readonly escape: EscapeCharacter;
  readonly lines: readonly InstructionLine[];
  readonly warnings: readonly string[];
}

/** An instruction with its continuation lines joined. */
export interface InstructionLine {
  readonly text: string;
  readonly heredocs: readonly Heredoc[];
  readonly position: SourcePosition;
}

/** Throws `DOCKERFILE_INVALID` with the line, `DOCKERFILE_EMPTY` when there is no instruction. */
export function readSourceLines(text: string, file: string): SourceFile {
  const source = text.replace(/^\uFEFF/, "");
  const physical = source.split(/(?<=\n)/);
  const at = (line: number, endLine = line): SourcePosition => ({ file, line, endLine });
  for (const [index, line] of physical.entries()) {
    if (line.length > maxLineLength) {
      locate(at(index + 1), () => syntaxError(`dockerfile line greater than max allowed size of ${maxLineLength}`));
    }
  }
  const { escape, count } = readDirectives(physical, at);
  const continuation = escape === "\\" ? /(?:([^\\])|^)\\[ \t]*$/ : /(?:([^`])|^)`[ \t]*$/;

  const lines: InstructionLine[] = [];
  const warnings: string[] = [];
  let next = count;
  while (next < physical.length) {
    const line = next + 1;
    const first = trimNewline(physical[next++] ?? "").trimStart();
    if (first === "" || first.startsWith("#")) continue;
    let joined = first.replace(continuation, "$1");
    let continues = joined !== first;
    let skippedEmpty = false;
    while (continues && next < physical.length) {
      const more = trimNewline(physical[next++] ?? "");
      const trimmed = more.trimStart();
      if (trimmed.startsWith("#")) continue;
      if (trimmed === "") {
        skippedEmpty = true;
        continue;
      }
      const rest = more.replace(continuation, "$1");
      continues = rest !== more;
      joined += rest;
    }
    // A lone continuation character, followed by nothing.
    if (joined.trim() === "") continue;
    if (skippedEmpty) warnings.push(`[WARNING]: Empty continuation line found in: ${joined}`);
    const heredocs: Heredoc[] = [];
    locate(at(line, next), () => {
      if (!joined.includes("<<") || !mayHoldHeredoc(joined, escape)) return;
      for (const opening of findHeredocs(joined)) {
        const { content, end } = readHeredocContent(physical, next, opening.name, opening.chomp);
        heredocs.push({ ...opening, content });
        next = end;
      }
    });
    lines.push({ text: joined.trim(), heredocs, position: at(line, next) });
  }
  if (lines.length === 0) {
    if (source.trim() === "") throw dockerfileErrors.DOCKERFILE_EMPTY({ file });
    locate(at(physical.length), () => syntaxError("file with no instructions"));
  }
  if (warnings.length > 0) {
    warnings.push("[WARNING]: Empty continuation lines will become errors in a future release.");
  }
  return { escape, lines, warnings };
}

/** Docker reads lines through a buffer of 64 KiB. */
const maxLineLength = 65_535;

/**
 * `# name=value` lines at the very top. `escape` changes how the file is read; `syntax` chooses a BuildKit front end and
 * `check` its linter, neither of which the classic builder has. Anything else is a comment, which ends them.
 */
function readDirectives(
  physical: readonly string[],
  at: (line: number) => SourcePosition,
): { readonly escape: EscapeCharacter; readonly count: number } {
  const seen = new Set<string>();
  let escape: EscapeCharacter = "\\";
  let count = 0;
  for (const line of physical) {
    const match = /^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S.*)$/.exec(line.trim());
    const name = match?.[1]?.toLowerCase() ?? "";
    const value = match?.[2] ?? "";
    if (!directives.has(name)) break;
    count++;
    locate(at(count), () => {
      if (seen.has(name)) syntaxError(`only one ${name} parser directive can be used`);
      seen.add(name);
      if (name !== "escape") return;
      if (value !== "\\" && value !== "`") syntaxError(`invalid escape token '${value}' does not match \` or \\`);
      escape = value;
    });
  }
  return { escape, count };
}

const directives = new Set(["syntax", "escape", "check"]);

function readHeredocContent(
  physical: readonly string[],
  start: number,
  terminator: string,
  chomp: boolean,
): { readonly content: string; readonly end: number } {
  let content = "";
  for (let index = start; index < physical.length; index++) {
    const line = physical[index] ?? "";
    const bare = trimNewline(line);
    if ((chomp ? bare.replace(/^\t+/, "") : bare) === terminator) return { content, end: index + 1 };
    content += line;
  }
  return syntaxError("unterminated heredoc");
}

function trimNewline(line: string): string {
  let end = line.length;
  while (end > 0 && (line[end - 1] === "\n" || line[end - 1] === "\r")) end--;
  return line.slice(0, end);
}

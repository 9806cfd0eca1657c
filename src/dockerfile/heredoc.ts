/** `<<NAME` and its variants in the lines of RUN, COPY and ADD. */
import { isBerthError } from "../base/errors.ts";
import { expandWords } from "./expand-word.ts";
import type { EscapeCharacter, Heredoc, InlineFile } from "./instruction.ts";
import { parseJsonWords, splitInstruction } from "./words.ts";

/** Whether the instruction on this line is one whose `<<` starts a heredoc: not in JSON form, not in other instructions. */
export function mayHoldHeredoc(line: string, escape: EscapeCharacter): boolean {
  const { keyword, rest } = splitInstruction(line, escape);
  if (keyword.toLowerCase() === "onbuild") {
    const inner = splitInstruction(rest, escape);
    return takesHeredoc(inner.keyword, inner.rest);
  }
  return takesHeredoc(keyword, rest);
}

/** The openings on a line, in order, with empty content. */
export function findHeredocs(line: string): readonly Heredoc[] {
  const words = quietly(() =>
    expandWords(line, { escape: "\\", lookup: unset, rawQuotes: true, rawEscapes: true, keepUnset: true }),
  );
  return words.flatMap((word) => parseHeredocWord(word) ?? []);
}

/** `2<<-"EOF"` as an opening; undefined when the word is none. */
export function parseHeredocWord(word: string): Heredoc | undefined {
  const match = /^\d*<<(-?)\s*([^<]+)$/.exec(word);
  if (match === null) return undefined;
  const delimiter = match[2] ?? "";
  const options = { escape: "\\", lookup: unset, keepUnset: true } as const;
  const [name, ...more] = quietly(() => expandWords(delimiter, options));
  if (name === undefined || more.length > 0) return undefined;
  const [raw = ""] = quietly(() => expandWords(delimiter, { ...options, rawQuotes: true }));
  // Quotes that went away quoted a part of the delimiter: the content is then literal.
  const expand = countQuotes(name) === countQuotes(raw);
  return { name, chomp: match[1] === "-", expand, content: "" };
}

/** The content with the leading tabs of `<<-` dropped. */
export function heredocText(heredoc: Heredoc): string {
  return heredoc.chomp ? heredoc.content.replace(/^\t+/gm, "") : heredoc.content;
}

/** A heredoc as a source of COPY or ADD. */
export function inlineFile(heredoc: Heredoc): InlineFile {
  return { name: heredoc.name, content: heredocText(heredoc), expand: heredoc.expand };
}

function takesHeredoc(keyword: string, rest: string): boolean {
  return ["add", "copy", "run"].includes(keyword.toLowerCase()) && parseJsonWords(rest) === undefined;
}

function countQuotes(text: string): number {
  return text.split(/['"]/).length - 1;
}

const unset = (): undefined => undefined;

/** A line whose quotes don't close holds no heredoc: a shell will say what is wrong with it. */
function quietly(read: () => readonly string[]): readonly string[] {
  try {
    return read();
  } catch (error) {
    if (isBerthError(error, "DOCKERFILE_SYNTAX")) return [];
    throw error;
  }
}

import type { Readable } from "node:stream";

/** The JSON values of a stream in which they follow one another, with or without newlines between (Docker's progress, events, stats). */
export async function* jsonValues(body: Readable): AsyncGenerator {
  let pending = "";
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    pending += decoder.decode(chunk as Buffer, { stream: true });
    let start = 0;
    for (let end = valueEnd(pending, start); end !== -1; end = valueEnd(pending, start)) {
      yield JSON.parse(pending.slice(start, end));
      start = end;
    }
    pending = pending.slice(start);
  }
  if (pending.trim() !== "") yield JSON.parse(pending);
}

/** Index after the value that begins at `start`; -1 when it is not complete. Engines send objects only. */
function valueEnd(text: string, start: number): number {
  let depth = 0;
  let inString = false;
  for (let index = start; index < text.length; index++) {
    const character = text[index];
    if (inString) {
      if (character === "\\") index++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") {
      depth--;
      if (depth === 0) return index + 1;
    }
  }
  return -1;
}

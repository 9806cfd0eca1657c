/** One way to authenticate that a registry offers (RFC 9110, 11.6.1). */
export interface Challenge {
  /** Lower case: "bearer", "basic". */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+/;

/** Parses `WWW-Authenticate`, which may hold several challenges, and parameters quoted or not. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { readonly scheme: string; readonly parameters: Record<string, string> }[] = [];
  let rest = header;
  for (;;) {
    rest = rest.replace(/^[\s,]+/, "");
    const word = TOKEN.exec(rest)?.[0];
    if (word === undefined) return challenges;
    const parameter = /^\s*=\s*/.exec(rest.slice(word.length));
    if (parameter === null) {
      challenges.push({ scheme: word.toLowerCase(), parameters: {} });
      rest = rest.slice(word.length);
      continue;
    }
    const { value, length } = parseValue(rest.slice(word.length + parameter[0].length));
    const current = challenges.at(-1);
    if (current !== undefined) current.parameters[word.toLowerCase()] = value;
    rest = rest.slice(word.length + parameter[0].length + length);
  }
}

function parseValue(text: string): { readonly value: string; readonly length: number } {
  const quoted = /^"((?:[^"\\]|\\.)*)"/.exec(text);
  if (quoted !== null) return { value: (quoted[1] ?? "").replace(/\\(.)/g, "$1"), length: quoted[0].length };
  const bare = /^[^\s,]*/.exec(text)?.[0] ?? "";
  return { value: bare, length: bare.length };
}

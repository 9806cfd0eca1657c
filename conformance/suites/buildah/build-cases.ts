/** The cases of Buildah's conformance tests, read from the list in its Go source. */

export interface BuildCase {
  readonly name: string;
  /** Below `testdata`; "" is an empty one. */
  readonly contextDir: string;
  /** In the context, or else in `testdata`; "" is "Dockerfile". */
  readonly dockerfile: string;
  /** The Dockerfile's text, where the case has it itself. */
  readonly contents: string | undefined;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly fails: boolean;
  /** Why it can't be run from here. */
  readonly skip: string | undefined;
}

export function parseBuildCases(source: string): readonly BuildCase[] {
  const [, list = ""] = /^var internalTestCases = \[\]testCase\{\n([^]*?)^\}/m.exec(source) ?? [];
  return [...list.matchAll(/^\t\{\n([^]*?)^\t\},/gm)].map(([, body = ""]) => buildCase(body));
}

function buildCase(body: string): BuildCase {
  const text = (field: string) =>
    unquote(new RegExp(`^\\t\\t${field}: +("(?:[^"\\\\]|\\\\.)*"),`, "m").exec(body)?.[1]);
  const has = (field: string) => new RegExp(`^\\t\\t${field}:`, "m").test(body);
  const contents = contentsOf(body);
  const [, args = ""] = /^\t\tbuildArgs: +map\[string\]string\{(.*)\},/m.exec(body) ?? [];
  return {
    name: text("name") ?? "",
    contextDir: text("contextDir") ?? "",
    dockerfile: text("dockerfile") ?? "",
    contents: contents === "code" ? undefined : contents,
    buildArgs: Object.fromEntries(
      [...args.matchAll(/("(?:[^"\\]|\\.)*"): +("(?:[^"\\]|\\.)*")/g)].map(([, key, value]) => [
        unquote(key),
        unquote(value),
      ]),
    ),
    fails: has("shouldFailAt"),
    skip: skipReason(has, contents === "code"),
  };
}

function skipReason(has: (field: string) => boolean, madeByCode: boolean): string | undefined {
  if (has("withoutDocker")) return "not built with Docker by Buildah's tests either: a feature of Buildah's own";
  if (has("tweakContextDir") || madeByCode) return "its context or Dockerfile is made by Buildah's Go code";
  return undefined;
}

/** The lines of `strings.Join([]string{…}, "\n")`, or one string; "code" when a line is computed. */
function contentsOf(body: string): string | undefined {
  const [, lines] = /^\t\tdockerfileContents: strings\.Join\(\[\]string\{\n([^]*?)^\t\t\}, "\\n"\),/m.exec(body) ?? [];
  if (lines === undefined) {
    const [, one, raw] = /^\t\tdockerfileContents: +(?:("(?:[^"\\]|\\.)*")|`([^`]*)`),/m.exec(body) ?? [];
    if (one !== undefined) return unquote(one);
    return raw ?? (/^\t\tdockerfileContents:/m.test(body) ? "code" : undefined);
  }
  const words: string[] = [];
  for (const line of lines.split("\n")) {
    const [, quoted, raw] = /^\s*(?:("(?:[^"\\]|\\.)*")|`([^`]*)`),(?:\s*\/\/.*)?$/.exec(line) ?? [];
    if (quoted !== undefined) words.push(unquote(quoted) ?? "");
    else if (raw !== undefined) words.push(raw);
    else if (!/^\s*(\/\/.*)?$/.test(line)) return "code";
  }
  return words.join("\n");
}

/** A Go string in quotes; those of the tests escape no more than JSON can. */
function unquote(quoted: string | undefined): string | undefined {
  return quoted === undefined
    ? undefined
    : String(JSON.parse(quoted.replaceAll("\\'", "'").replaceAll("\\x", "\\u00")));
}

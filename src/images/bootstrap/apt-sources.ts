/** apt's sources, in both formats (sources.list(5)), as far as they say where packages come from and who signs them. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** One archive: `deb [signed-by=…] URI SUITE COMPONENTS`. */
export interface AptSource {
  readonly uri: string;
  readonly suite: string;
  readonly components: readonly string[];
  /** Path of the keyring, or the key itself; undefined trusts all of the host's keys. */
  readonly signedBy?: { readonly path: string } | { readonly key: string };
  /** "yes" disables the check of signatures: only ever as the host says. */
  readonly trusted?: boolean;
}

/** What the host's apt knows. `directory` is /etc/apt. */
export async function readHostSources(directory: string): Promise<readonly AptSource[]> {
  const sources = parseOneLine((await readOptional(join(directory, "sources.list"))) ?? "");
  const parts = join(directory, "sources.list.d");
  const names = (await listOptional(parts)).toSorted();
  const more: AptSource[] = [];
  for (const name of names) {
    const text =
      name.endsWith(".list") || name.endsWith(".sources") ? await readOptional(join(parts, name)) : undefined;
    if (text !== undefined) more.push(...(name.endsWith(".list") ? parseOneLine(text) : parseDeb822(text)));
  }
  return [...sources, ...more];
}

/** Hosts that apt has passwords for (apt_auth.conf(5)); only their names are read. */
export async function readSecretHosts(directory: string): Promise<ReadonlySet<string>> {
  const files = [join(directory, "auth.conf")];
  for (const name of await listOptional(join(directory, "auth.conf.d")))
    files.push(join(directory, "auth.conf.d", name));
  const hosts = new Set<string>();
  for (const file of files) {
    for (const [, machine = ""] of ((await readOptional(file)) ?? "").matchAll(/\bmachine\s+(\S+)/g)) {
      hosts.add(machine.replace(/^[a-z+]+:\/\//, "").replace(/[:/].*$/, ""));
    }
  }
  return hosts;
}

/** Whether a container can use it as it is: over the network, with no password. */
export function isPublic(source: AptSource, secretHosts: ReadonlySet<string>): boolean {
  if (!URL.canParse(source.uri)) return false;
  const { protocol, username, hostname } = new URL(source.uri);
  return /^https?:$/.test(protocol) && username === "" && !secretHosts.has(hostname);
}

/** The source as a line of sources.list. */
export function formatSource({ uri, suite, components, signedBy, trusted }: AptSource): string {
  const options = [
    ...(signedBy !== undefined && "path" in signedBy ? [`signed-by=${signedBy.path}`] : []),
    ...(trusted === true ? ["trusted=yes"] : []),
  ];
  const bracket = options.length === 0 ? "" : `[${options.join(" ")}] `;
  return ["deb", `${bracket}${uri}`, suite, ...components].join(" ");
}

/** `deb [options] uri suite component…`, a line each. */
export function parseOneLine(text: string): readonly AptSource[] {
  return text.split("\n").flatMap((line): AptSource[] => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+[^\s#]+)*)\s*(?:#.*)?$/.exec(line);
    if (match === null) return [];
    const [, options = "", uri = "", suite = "", components = ""] = match;
    const option = (name: string) => new RegExp(`(?:^|\\s)${name}=(\\S+)`, "i").exec(options)?.[1];
    return [source(uri, suite, words(components), option("signed-by"), option("trusted"))];
  });
}

/** Stanzas of fields; several URIs and suites make a source each. */
export function parseDeb822(text: string): readonly AptSource[] {
  return text.split(/\n(?:[ \t]*\n)+/).flatMap((stanza): AptSource[] => {
    const fields = stanzaFields(stanza);
    const field = (name: string) => fields.get(name) ?? "";
    if (!words(field("types")).includes("deb") || /^no$/i.test(field("enabled").trim())) return [];
    return words(field("uris")).flatMap((uri) =>
      words(field("suites")).map((suite) =>
        source(uri, suite, words(field("components")), fields.get("signed-by")?.trim(), fields.get("trusted")?.trim()),
      ),
    );
  });
}

/** By lower-case name; continuation lines start with white space, "." stands for an empty one. */
function stanzaFields(stanza: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  let name = "";
  for (const line of stanza.split("\n")) {
    if (line.startsWith("#")) continue;
    const start = /^([A-Za-z][A-Za-z0-9-]*):(.*)$/.exec(line);
    if (start !== null) {
      name = (start[1] ?? "").toLowerCase();
      fields.set(name, (start[2] ?? "").trim());
    } else if (/^[ \t]/.test(line) && name !== "") {
      const more = line.trim();
      fields.set(name, `${fields.get(name) ?? ""}\n${more === "." ? "" : more}`);
    }
  }
  return fields;
}

function source(
  uri: string,
  suite: string,
  components: readonly string[],
  signedBy: string | undefined,
  trusted: string | undefined,
): AptSource {
  const key = signedBy?.includes("BEGIN PGP PUBLIC KEY") === true;
  // Fingerprints ("ABCD…") choose among the host's keys; those stay trusted as they are.
  const path = signedBy?.startsWith("/") === true ? signedBy.split(/[\s,]/)[0] : undefined;
  return {
    uri,
    suite,
    components,
    ...(key ? { signedBy: { key: `${(signedBy ?? "").trim()}\n` } } : path === undefined ? {} : { signedBy: { path } }),
    ...(trusted?.toLowerCase() === "yes" ? { trusted: true } : {}),
  };
}

function words(text: string): readonly string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function listOptional(path: string): Promise<readonly string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

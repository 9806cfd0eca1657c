/**
 * Docker's routes carry names that hold slashes in the middle of a path (`/images/library/debian:12/json`), and an optional
 * version in front. Fastify's router wants each in one segment, so a request's path is rewritten before it is routed.
 */

export interface SplitPath {
  /** "1.43", when the path had one. */
  readonly version: string | undefined;
  /** Without the version, with the name as one encoded segment, with the query. */
  readonly url: string;
}

/** Splits "/v1.43/images/a/b/json?x=1" into the version "1.43" and "/images/a%2Fb/json?x=1". */
export function splitPath(url: string, method = "GET"): SplitPath {
  const match = versionPrefix.exec(url);
  if (match === null) return { version: undefined, url: joinName(url, method) };
  const rest = url.slice(match[0].length);
  return { version: match[1], url: joinName(rest === "" ? "/" : rest, method) };
}

const versionPrefix = /^\/v(\d+(?:\.\d+)*)(?=\/|$)/;

/** What may follow a name, per collection. Longest first. */
const verbs: Readonly<Record<string, readonly string[]>> = {
  images: ["json", "history", "push", "tag", "get", "attestations"],
  distribution: ["json"],
  plugins: ["json", "enable", "disable", "upgrade", "push", "set"],
};

/** Paths of a collection that are not names. */
const collectionRoutes: Readonly<Record<string, readonly string[]>> = {
  images: ["json", "create", "search", "get", "load", "prune"],
  distribution: [],
  plugins: ["privileges", "pull", "create"],
};

const linkName = /^\/containers\/([^/]+)\/([^/]+)$/;

function joinName(full: string, method: string): string {
  // `/containers//name/json`: the leading slash of a container's name, as `docker inspect` shows it.
  const url = full.replace(/^\/containers\/\/+/, "/containers/");
  const end = url.indexOf("?");
  const path = end === -1 ? url : url.slice(0, end);
  const query = end === -1 ? "" : url.slice(end);
  // `docker rm --link`: a link's name is "container/alias".
  const link = method === "DELETE" ? linkName.exec(path) : null;
  if (link !== null) return `/containers/${link[1]}%2F${link[2]}${query}`;
  const slash = path.indexOf("/", 1);
  if (slash === -1) return url;
  const collection = path.slice(1, slash);
  const known = verbs[collection];
  if (known === undefined) return url;
  const rest = path.slice(slash + 1);
  if (!rest.includes("/") || collectionRoutes[collection]?.includes(rest) === true) return url;
  const last = rest.slice(rest.lastIndexOf("/") + 1);
  const verb = known.includes(last) ? `/${last}` : "";
  const name = verb === "" ? rest : rest.slice(0, -verb.length);
  return `/${collection}/${name.replaceAll("/", "%2F")}${verb}${query}`;
}

import { imageErrors } from "./errors.ts";

/** An image's name, as Docker normalises it: "debian" is docker.io/library/debian. */
export interface Reference {
  /** Registry: "docker.io", "localhost:5000". */
  readonly domain: string;
  /** Repository in the registry: "library/debian". */
  readonly path: string;
  readonly tag?: string;
  /** "sha256:…". */
  readonly digest?: string;
}

const DOMAIN_COMPONENT = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const DOMAIN = new RegExp(`^(?:${DOMAIN_COMPONENT}(?:\\.${DOMAIN_COMPONENT})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const PATH_COMPONENT = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const PATH = new RegExp(`^${PATH_COMPONENT}(?:/${PATH_COMPONENT})*$`);
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const MAX_NAME_LENGTH = 255;
export const DEFAULT_DOMAIN = "docker.io";
const LEGACY_DEFAULT_DOMAIN = "index.docker.io";

/**
 * Parses what a user typed (distribution/reference, `ParseNormalizedNamed`): default registry and "library/" are filled
 * in, a tag is not. Throws `IMAGE_REFERENCE_INVALID`.
 */
export function parseReference(text: string): Reference {
  const invalid = (reason?: string) =>
    imageErrors.IMAGE_REFERENCE_INVALID({ reference: text, ...(reason === undefined ? {} : { reason }) });
  if (/^[0-9a-f]{64}$/.test(text)) {
    throw imageErrors.IMAGE_REFERENCE_INVALID({
      reference: text,
      reason: `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`,
    });
  }
  const { domain, remainder } = splitDomain(text);
  const { name, tag, digest } = splitSuffixes(remainder);
  if (`${domain}/${name}`.length > MAX_NAME_LENGTH) {
    throw invalid(`repository name must not be more than ${MAX_NAME_LENGTH} characters`);
  }
  if (name !== name.toLowerCase()) throw invalid(`repository name (${name}) must be lowercase`);
  if (!DOMAIN.test(domain) || !PATH.test(name)) throw invalid();
  if (tag !== undefined && !TAG.test(tag)) throw invalid();
  if (digest !== undefined && !DIGEST.test(digest)) throw invalid();
  return {
    domain,
    path: name,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** The reference with tag "latest" when it has neither tag nor digest (`TagNameOnly`). */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: "latest" } : reference;
}

/** "docker.io/library/debian": the repository's full name. */
export function repositoryName(reference: Reference): string {
  return `${reference.domain}/${reference.path}`;
}

/** The full form, as records keep it: "docker.io/library/debian:bookworm". */
export function formatReference(reference: Reference): string {
  return repositoryName(reference) + suffix(reference);
}

/** The repository's name as Docker prints it: "debian", "localhost:5000/app". */
export function familiarName(reference: Reference): string {
  if (reference.domain !== DEFAULT_DOMAIN) return repositoryName(reference);
  const short = reference.path.startsWith("library/") ? reference.path.slice("library/".length) : reference.path;
  // "library/a/b" can't lose its prefix: "a/b" would be another repository.
  return short.includes("/") ? reference.path : short;
}

/** The reference as Docker prints it: "debian:bookworm". */
export function formatFamiliar(reference: Reference): string {
  return familiarName(reference) + suffix(reference);
}

/** The familiar form of a reference that a record holds. */
export function familiar(normalised: string): string {
  return formatFamiliar(parseReference(normalised));
}

function suffix(reference: Reference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  return reference.digest === undefined ? tag : `${tag}@${reference.digest}`;
}

/** A first component is a registry when it looks like a host (`splitDockerDomain`). */
function splitDomain(text: string): { readonly domain: string; readonly remainder: string } {
  const slash = text.indexOf("/");
  const first = slash === -1 ? "" : text.slice(0, slash);
  const isHost = slash !== -1 && (/[.:]/.test(first) || first === "localhost" || first.toLowerCase() !== first);
  const domain = isHost ? first : DEFAULT_DOMAIN;
  const remainder = isHost ? text.slice(slash + 1) : text;
  const canonical = domain === LEGACY_DEFAULT_DOMAIN ? DEFAULT_DOMAIN : domain;
  return {
    domain: canonical,
    remainder: canonical === DEFAULT_DOMAIN && !remainder.includes("/") ? `library/${remainder}` : remainder,
  };
}

function splitSuffixes(remainder: string): {
  readonly name: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
} {
  const at = remainder.indexOf("@");
  const digest = at === -1 ? undefined : remainder.slice(at + 1);
  const tagged = at === -1 ? remainder : remainder.slice(0, at);
  const colon = tagged.indexOf(":");
  return colon === -1
    ? { name: tagged, tag: undefined, digest }
    : { name: tagged.slice(0, colon), tag: tagged.slice(colon + 1), digest };
}

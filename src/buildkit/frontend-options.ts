/** What `docker build`'s options come to on the wire: the attributes of BuildKit's `dockerfile.v0`. Unknown ones are refused. */
import type { BuildRequest } from "../build/build-service.ts";
import { parsePlatform } from "../images/platform.ts";
import type { Platform } from "../schema/image.ts";
import { unlimited } from "../schema/resources.ts";
import type { Ulimit } from "../schema/instance.ts";
import { buildKitErrors } from "./errors.ts";
import type { CacheEntry } from "./wire/control.ts";
import type { Decoded } from "./wire/message.ts";

type Attributes = Readonly<Record<string, string>>;

export interface FrontendOptions {
  /** Path in the directory that the client calls `dockerfileDirectory`. */
  readonly dockerfile: string;
  readonly dockerfileDirectory: string;
  readonly contextDirectory: string;
  /** URL of the context; "" is the client's directory. */
  readonly remote: string;
  readonly namedContexts: Readonly<Record<string, NamedContextOption>>;
  readonly build: Omit<BuildRequest, "context" | "dockerfile" | "tags" | "askAuth" | "auths" | "namedContexts">;
}

/** What `--build-context NAME=` names. */
export type NamedContextOption =
  | { readonly kind: "image"; readonly reference: string }
  /** As the client calls it. */
  | { readonly kind: "directory"; readonly directory: string }
  | { readonly kind: "remote"; readonly remote: string };

/** Without effect here: what the front end's image was asked as, and whether a result for one platform is an index of one. */
const ignored: ReadonlySet<string> = new Set(["cmdline", "multi-platform"]);

/** Abilities that a client may ask for, as the file's syntax would; "+forward": whoever has none hands it on. */
const abilities = /^moby\.buildkit\.frontend\.contexts(?:\+forward)?$/;

/** `inputs` are images by the names of the inputs that `context:` may speak of. */
export function frontendOptions(
  attributes: Attributes,
  imports: readonly Partial<Decoded<typeof CacheEntry>>[],
  host: Platform,
  inputs: Readonly<Record<string, string>> = {},
): FrontendOptions {
  const known = new Map(Object.entries(attributes));
  const take = (name: string): string => {
    const value = known.get(name) ?? "";
    known.delete(name);
    return value;
  };
  const takeAll = (prefix: string): Record<string, string> => {
    const found: Record<string, string> = {};
    for (const name of known.keys()) if (name.startsWith(prefix)) found[name.slice(prefix.length)] = take(name);
    return found;
  };
  refuseSpecial(take);
  const unused = Object.keys(inputs).find((name) => !Object.values(attributes).includes(`input:${name}`));
  if (unused !== undefined) throw unsupported(`the input ${unused}`);
  const buildArgs = takeAll("build-arg:");
  const ownArgs = Object.keys(buildArgs).filter((name) => name.startsWith("BUILDKIT_"));
  for (const name of ownArgs) refuseArgument(name, buildArgs[name] ?? "");
  // Without a stage it is all of them.
  const noCacheStages = commaList(known.get("no-cache") ?? "");
  const noCache = known.has("no-cache") && take("no-cache") === "";
  const platform = onePlatform(take("platform"), host);
  const options: FrontendOptions = {
    dockerfile: take("filename") || "Dockerfile",
    dockerfileDirectory: take("dockerfilekey") || "dockerfile",
    contextDirectory: take("contextkey") || "context",
    remote: take("context"),
    namedContexts: Object.fromEntries(
      Object.entries(takeAll("context:")).map(([name, value]) => [name, namedContext(name, value, inputs)]),
    ),
    build: {
      target: take("target"),
      buildArgs: Object.fromEntries(Object.entries(buildArgs).filter(([name]) => !name.startsWith("BUILDKIT_"))),
      labels: takeAll("label:"),
      noCache,
      noCacheStages,
      pull: take("image-resolve-mode") === "pull",
      quiet: false,
      forceRemove: true,
      cacheFrom: [...cacheImages(take("cache-from")), ...imports.flatMap(cacheImage)],
      ownCacheToo: true,
      networkMode: take("force-network-mode") || "default",
      extraHosts: commaList(take("add-hosts")).map((pair) => pair.replace("=", ":")),
      resources: unlimited,
      shmSize: wholeNumber("shm-size", take("shm-size")),
      ulimits: commaList(take("ulimit")).map(ulimit),
      squash: false,
      ...(platform === undefined ? {} : { platform }),
    },
  };
  for (const name of ignored) known.delete(name);
  // The latter are where a directory is to be had, which is looked up elsewhere.
  for (const name of known.keys()) if (/^(?:vcs|local-sessionid|input-metadata):/.test(name)) known.delete(name);
  const [unknown] = known.keys();
  if (unknown !== undefined) throw unsupported(`the build option ${unknown}`);
  return options;
}

function refuseSpecial(take: (name: string) => string): void {
  const request = take("requestid");
  if (request !== "") throw unsupported(`the request ${request} (--check, --call)`);
  const syntax = take("source");
  if (syntax !== "") throw unsupported(`the Dockerfile syntax ${syntax}`);
  const asked = take("frontend.caps")
    .split(",")
    .find((ability) => ability !== "" && !abilities.test(ability));
  if (asked !== undefined) throw unsupported(`the front end's ability ${asked}`);
  if (take("cgroup-parent") !== "") throw unsupported("--cgroup-parent");
  // What buildx asks for by itself goes into images that a registry gets, and into no other.
  const provenance = take("attest:provenance");
  if (provenance !== "" && !/(?:^|,)(?:inline-only=true|disabled=true)(?:,|$)/.test(provenance))
    throw unsupported("--provenance");
  const sbom = take("attest:sbom");
  if (sbom !== "" && !/(?:^|,)disabled=true(?:,|$)/.test(sbom)) throw unsupported("--sbom");
}

/** Build arguments that speak to BuildKit itself. */
function refuseArgument(name: string, value: string): void {
  switch (name) {
    case "BUILDKIT_SYNTAX":
      if (/^(?:docker\.io\/)?docker\/dockerfile(?:[:@].*)?$/.test(value)) return;
      throw unsupported(`the Dockerfile syntax ${value}`);
    case "BUILDKIT_INLINE_CACHE":
      // The history of every image made here says as much.
      return;
    default:
      throw unsupported(`the build argument ${name}`);
  }
}

function namedContext(name: string, value: string, inputs: Readonly<Record<string, string>>): NamedContextOption {
  const [, scheme = "", rest = ""] = /^(local:|docker-image:\/\/)(.*)$/s.exec(value) ?? [];
  if (name.includes("::")) throw unsupported(`the build context ${name} for one platform`);
  if (scheme === "local:") return { kind: "directory", directory: rest };
  if (scheme !== "") return { kind: "image", reference: rest };
  if (/^(?:https?:\/\/|git:\/\/|ssh:\/\/|git@|github\.com\/)/i.test(value)) return { kind: "remote", remote: value };
  const inputName = value.startsWith("input:") ? value.slice("input:".length) : "";
  const input = Object.hasOwn(inputs, inputName) ? inputs[inputName] : undefined;
  // The image has the configuration that the client sends beside.
  if (input !== undefined) return { kind: "image", reference: input };
  throw unsupported(`the build context ${name}=${value}`);
}

function onePlatform(text: string, host: Platform): Platform | undefined {
  if (text === "") return undefined;
  if (text.includes(",")) throw unsupported("a build for several platforms");
  return parsePlatform(text, host);
}

function cacheImages(text: string): readonly string[] {
  return commaList(text);
}

/** An image, as the classic builder's --cache-from; others are BuildKit's own kinds. */
function cacheImage({ Type = "", Attrs = {} }: Partial<Decoded<typeof CacheEntry>>): readonly string[] {
  const { ref = "" } = Attrs;
  if (Type !== "registry" || ref === "") throw unsupported(`--cache-from type=${Type}`);
  return [ref];
}

function ulimit(text: string): Ulimit {
  const match = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(text);
  if (match === null) throw buildKitErrors.BUILDKIT_OPTION_INVALID({ option: "--ulimit", value: text });
  const [, name = "", soft = "", hard = soft] = match;
  return { name, soft: Number(soft), hard: Number(hard) };
}

function wholeNumber(option: string, text: string): number {
  if (!/^\d{0,15}$/.test(text)) throw buildKitErrors.BUILDKIT_OPTION_INVALID({ option, value: text });
  return Number(text);
}

function commaList(text: string): readonly string[] {
  return text.split(",").filter((part) => part !== "");
}

function unsupported(what: string): Error {
  return buildKitErrors.BUILDKIT_UNSUPPORTED({ what });
}

/** Where a build's results go: `--output`, and what `--tag`, `--load` and `--push` come to on the wire. */
import { buildKitErrors } from "./errors.ts";
import type { SolveRequest } from "./wire/control.ts";

export type ExportTarget = ImageTarget | ClientTarget;

/** The engine's own images, with these names. */
export interface ImageTarget {
  readonly kind: "image";
  readonly names: readonly string[];
  /** To the registries that the names name. */
  readonly push: boolean;
}

/** The client: the files of the root file system, or an archive of the image. */
export interface ClientTarget {
  readonly kind: "client";
  readonly format: "local" | "tar" | "docker" | "oci";
  /** Place among the outputs, by which the client knows it. */
  readonly exporter: number;
  /** Of the image in its archive. */
  readonly names: readonly string[];
}

type Attributes = Readonly<Record<string, string>>;

/** None makes no image that is listed. */
export function exportTargets(request: SolveRequest): readonly ExportTarget[] {
  const { Exporters, ExporterDeprecated, ExporterAttrsDeprecated, Cache } = request;
  const exporters = Exporters.length > 0 ? Exporters : [{ Type: ExporterDeprecated, Attrs: ExporterAttrsDeprecated }];
  for (const { Type = "" } of Cache?.Exports ?? []) {
    // What an image's history tells is the cache that --cache-from reads.
    if (Type !== "inline") throw unsupported(`--cache-to type=${Type}`);
  }
  return exporters.flatMap(({ Type: type = "", Attrs: attributes = {} }, exporter) =>
    type === "" ? [] : [exportTarget(type, attributes, exporter)],
  );
}

function exportTarget(type: string, attributes: Attributes, exporter: number): ExportTarget {
  switch (type) {
    case "moby":
      // Its clients push by the engine's own API, once the image is here.
      checkAttributes(type, attributes, { ...imageAttributes, push: boolean });
      return { kind: "image", names: namesOf(attributes), push: false };
    case "image": {
      checkAttributes(type, attributes, { ...imageAttributes, push: boolean });
      const names = namesOf(attributes);
      const push = isTrue(attributes["push"] ?? "");
      if (push && names.length === 0) throw buildKitErrors.BUILDKIT_PUSH_NAMELESS(undefined);
      return { kind: "image", names, push };
    }
    case "local":
    case "tar":
      checkAttributes(type, attributes, { "platform-split": isFalse });
      return { kind: "client", format: type, exporter, names: [] };
    case "docker":
    case "oci":
      checkAttributes(type, attributes, { ...imageAttributes, tar: isTrue, context: (value) => value === "" });
      return { kind: "client", format: type, exporter, names: namesOf(attributes) };
    default:
      throw unsupported(`--output type=${type}`);
  }
}

type Accepted = (value: string) => boolean;

/** Values that ask for what is done anyway; the options that aren't here, and other values, are refused by name. */
const imageAttributes: Readonly<Record<string, Accepted>> = {
  name: () => true,
  "oci-mediatypes": isTrue,
  unpack: boolean,
  // Compose's: into the engine's images, where it comes anyway.
  load: boolean,
  store: isTrue,
  "force-compression": isFalse,
  "push-by-digest": isFalse,
  "registry.insecure": isFalse,
  "rewrite-timestamp": isFalse,
  "name-canonical": isFalse,
};

function checkAttributes(type: string, attributes: Attributes, accepted: Readonly<Record<string, Accepted>>): void {
  for (const [name, value] of Object.entries(attributes)) {
    const accepts = Object.hasOwn(accepted, name) ? accepted[name] : undefined;
    if (accepts?.(value) !== true) throw unsupported(`--output type=${type},${name}=${value}`);
  }
}

function namesOf(attributes: Attributes): readonly string[] {
  return (attributes["name"] ?? "").split(",").filter((name) => name !== "");
}

function boolean(value: string): boolean {
  return isTrue(value) || isFalse(value);
}

function isTrue(value: string): boolean {
  return /^(?:1|t|true)$/i.test(value);
}

function isFalse(value: string): boolean {
  return /^(?:0|f|false|)$/i.test(value);
}

function unsupported(what: string): Error {
  return buildKitErrors.BUILDKIT_UNSUPPORTED({ what });
}

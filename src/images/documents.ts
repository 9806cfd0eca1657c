/** Manifests, indexes and configurations read from bytes that others made: checked against their schema before use. */
import type { TSchema } from "typebox";
import { Check, Errors } from "typebox/value";
import { ImageConfig, ImageIndex, Manifest } from "../schema/image.ts";
import { messageOf } from "../base/errors.ts";
import { imageErrors } from "./errors.ts";
import { isIndexType, isManifestType, MediaType } from "./media-types.ts";

export type ManifestDocument =
  | { readonly kind: "manifest"; readonly mediaType: string; readonly manifest: Manifest }
  | { readonly kind: "index"; readonly mediaType: string; readonly index: ImageIndex };

/** A manifest or an index. `mediaType` is the transport's word for it; "" looks inside. `name` is for messages. */
export function parseManifestDocument(bytes: Uint8Array, mediaType: string, name: string): ManifestDocument {
  const json = parseJson(bytes, `manifest of ${name}`);
  const type = declaredType(json, mediaType);
  if (isIndexType(type)) {
    if (!Check(ImageIndex, json)) throw invalid(`manifest list of ${name}`, ImageIndex, json);
    return { kind: "index", mediaType: type, index: json };
  }
  if (isManifestType(type)) {
    if (!Check(Manifest, json)) throw invalid(`manifest of ${name}`, Manifest, json);
    return { kind: "manifest", mediaType: type, manifest: json };
  }
  throw imageErrors.MANIFEST_TYPE_UNSUPPORTED({ name, mediaType: type });
}

/** An image's configuration. */
export function parseImageConfig(bytes: Uint8Array, name: string): ImageConfig {
  const json = parseJson(bytes, `image configuration of ${name}`);
  const config = isRecord(json) ? withoutNulls(json) : json;
  if (!Check(ImageConfig, config)) throw invalid(`image configuration of ${name}`, ImageConfig, config);
  return config;
}

export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw imageErrors.IMAGE_DOCUMENT_INVALID({ what, reason: messageOf(error) }, { cause: error });
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The document's own `mediaType` wins over the transport's (which proxies and file servers get wrong); where both are
 * silent the shape decides. A schema 1 manifest has no way to be taken for another.
 */
function declaredType(json: unknown, transportType: string): string {
  if (!isRecord(json)) return transportType;
  if (json["schemaVersion"] === 1) return "application/vnd.docker.distribution.manifest.v1+json";
  const own = json["mediaType"];
  if (typeof own === "string" && own !== "") return own;
  const bare = transportType.split(";")[0]?.trim() ?? "";
  if (isIndexType(bare) || isManifestType(bare)) return bare;
  if (Array.isArray(json["manifests"])) return MediaType.ociIndex;
  if (Array.isArray(json["layers"]) && isRecord(json["config"])) return MediaType.ociManifest;
  return bare;
}

/** Go's encoders write null for absent maps and lists; our schema has these as absent. */
function withoutNulls(json: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(json).flatMap(([key, value]): [string, unknown][] => {
      if (value === null) return [];
      return [[key, key === "config" && isRecord(value) ? withoutNulls(value) : value]];
    }),
  );
}

function invalid(what: string, schema: TSchema, value: unknown) {
  const first = Errors(schema, value)[0];
  const reason = first === undefined ? "does not match its schema" : `${first.instancePath || "/"} ${first.message}`;
  return imageErrors.IMAGE_DOCUMENT_INVALID({ what, reason });
}

/** Where a build's result goes. */
import type { OpContext } from "../base/op-context.ts";
import type { ImageRecord } from "../schema/image.ts";
import { buildKitErrors } from "./errors.ts";
import type { StatusLog } from "./status-log.ts";
import type { SolveRequest } from "./wire/control.ts";

export type ExportTarget =
  /** The engine's own images, with these names. */
  | { readonly kind: "image"; readonly names: readonly string[] }
  /** The client. */
  | {
      readonly kind: "client";
      readonly names: readonly [];
      send(ctx: OpContext, image: ImageRecord, status: StatusLog): Promise<void>;
    };

export function exportTarget(request: SolveRequest): ExportTarget {
  const { Exporters, ExporterDeprecated, ExporterAttrsDeprecated, Cache } = request;
  const exporters = Exporters.length > 0 ? Exporters : [{ Type: ExporterDeprecated, Attrs: ExporterAttrsDeprecated }];
  if (exporters.length > 1) throw unsupported("more than one --output");
  for (const { Type = "" } of Cache?.Exports ?? []) {
    // What an image's history tells is the cache that --cache-from reads.
    if (Type !== "inline") throw unsupported(`--cache-to type=${Type}`);
  }
  const { Type: type = "", Attrs: attributes = {} } = exporters[0] ?? {};
  switch (type) {
    case "":
      return { kind: "client", names: [], send: async () => {} };
    case "moby":
    case "image":
      return { kind: "image", names: imageNames(attributes) };
    default:
      throw unsupported(`--output type=${type}`);
  }
}

function imageNames(attributes: Readonly<Record<string, string>>): readonly string[] {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "push" && isTrue(value)) throw unsupported("--push (docker push does it after the build)");
    if (name === "rewrite-timestamp" && isTrue(value)) throw unsupported("rewrite-timestamp");
  }
  return (attributes["name"] ?? "").split(",").filter((name) => name !== "");
}

function isTrue(value: string): boolean {
  return /^(?:1|t|true)$/i.test(value);
}

function unsupported(what: string): Error {
  return buildKitErrors.BUILDKIT_UNSUPPORTED({ what });
}

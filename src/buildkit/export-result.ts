/** A build's result, to each of its outputs. */
import type { OpContext } from "../base/op-context.ts";
import type { BuiltImage } from "../build/build-service.ts";
import { exportToClient } from "./client-export.ts";
import type { ExportTarget } from "./exporters.ts";
import { announceImage, normalised, type PushParts, pushImage } from "./image-export.ts";

/** What the exporter tells the client: `containerimage.digest` and its like. */
export type ExporterResponse = Readonly<Record<string, string>>;

/** One after the other. Files alone are no image, of which there would be something to tell. */
export async function exportResult(
  ctx: OpContext,
  parts: PushParts,
  targets: readonly ExportTarget[],
  built: BuiltImage,
): Promise<ExporterResponse> {
  const { image } = built;
  let pushed: string | undefined;
  for (const target of targets) {
    if (target.kind === "client") {
      await exportToClient(ctx, { ...parts, target, built });
      continue;
    }
    announceImage(parts.status, image, target.names);
    if (target.push) pushed = await pushImage(ctx, parts, target.names);
  }
  const archived = targets.some(
    (target) => target.kind === "client" && (target.format === "docker" || target.format === "oci"),
  );
  const listed = targets.some(({ kind }) => kind === "image");
  if (!archived && !listed) return {};
  const names = [...new Set(targets.flatMap((target) => target.names))];
  return {
    "containerimage.config.digest": image.id,
    // The engine's own images go by their configuration's, as Docker's do.
    "containerimage.digest": pushed ?? (listed ? image.id : image.manifest.digest),
    ...(names.length === 0 ? {} : { "image.name": names.map(normalised).join(",") }),
  };
}

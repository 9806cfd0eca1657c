import { isBerthError } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { ProgressSink } from "../../base/progress.ts";
import { usualSize } from "../../osimages/machine-images.ts";
import type { InstanceRecord } from "../../schema/instance.ts";
import type { ConvertToMachineBody } from "../../schema/machine-convert-api.ts";
import { createMachine } from "../create.ts";
import { isMachine, type MachineParts } from "../parts.ts";
import { convertErrors } from "./errors.ts";
import { intermediateImages } from "./intermediate.ts";

/** See `MachineService.convertToMachine`. A container that runs goes on; it stands still while its files are packed. */
export async function convertToMachine(
  parts: MachineParts,
  ctx: OpContext,
  { source, keepImage, ...body }: ConvertToMachineBody,
  progress: ProgressSink,
): Promise<InstanceRecord> {
  await using intermediate = intermediateImages(parts, ctx);
  const container = instanceNamed(parts, source);
  if (container !== undefined && isMachine(container)) throw convertErrors.CONVERT_ALREADY_MACHINE({ source });
  const label = container === undefined ? source : `the container ${container.name}`;
  const image = container === undefined ? requireImage(parts, source) : intermediate.next();
  if (container !== undefined) {
    warnOfVolumes(container, progress);
    progress({ id: "files", status: `Packing the files of ${container.name}` });
    const plain = { author: "", comment: "", changes: [], pause: true };
    await parts.instances.commit(ctx, container.id, { ...plain, reference: image });
  }
  const disk = intermediate.next();
  // A machine's disk can be larger than its image's, never smaller.
  const size = body.disk !== undefined && body.disk < usualSize ? { size: body.disk } : {};
  await parts.machineImages.build(ctx, { source: image, label, tag: disk, from: "image", ...size }, progress);
  const machine = await createMachine(parts, ctx, { ...body, image: disk }, progress, label);
  if (keepImage !== undefined) await parts.images.tag(ctx, disk, keepImage);
  return machine;
}

function instanceNamed({ instances }: MachineParts, name: string): InstanceRecord | undefined {
  try {
    return instances.resolve(name);
  } catch (error) {
    if (isBerthError(error, "INSTANCE_NOT_FOUND")) return undefined;
    throw error;
  }
}

function requireImage({ images }: MachineParts, name: string): string {
  try {
    images.resolve(name);
    return name;
  } catch (error) {
    if (!isBerthError(error, "IMAGE_NOT_FOUND")) throw error;
    throw convertErrors.CONVERT_SOURCE_UNKNOWN({ source: name }, { cause: error });
  }
}

/** As with docker commit; who does not know would look for them in the machine. */
function warnOfVolumes({ spec }: InstanceRecord, progress: ProgressSink): void {
  const targets = spec.mounts.filter(({ type }) => type !== "tmpfs").map(({ target }) => target);
  if (targets.length > 0) progress({ status: `Volumes and binds are not in it: ${targets.join(", ")}` });
}

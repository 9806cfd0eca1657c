/** What a conversion makes on its way: images under names that say so, and a directory. What a killed engine left of them goes at its start. */
import { join } from "node:path";
import { isBerthError } from "../../base/errors.ts";
import { newId } from "../../base/ids.ts";
import { cleanupContext, type OpContext } from "../../base/op-context.ts";
import { mkdir, rm } from "../../host/files.ts";
import { parseReference } from "../../images/reference.ts";
import type { MachineParts } from "../parts.ts";

const repository = "berth-convert";
const directoryOf = (dataRoot: string) => join(dataRoot, "machines", "conversions");

/** Names for images of one conversion, all of which lose them when it is disposed. */
export function intermediateImages({ images }: Pick<MachineParts, "images">, ctx: OpContext) {
  const names: string[] = [];
  return {
    next: (): string => {
      const name = `${repository}:${newId().slice(0, 12)}`;
      names.push(name);
      return name;
    },
    [Symbol.asyncDispose]: async () => {
      for (const name of names) {
        try {
          await images.remove(cleanupContext(ctx), name, { force: false, noPrune: false });
        } catch (error) {
          // It was never made.
          if (!isBerthError(error, "IMAGE_NOT_FOUND")) throw error;
        }
      }
    },
  };
}

/** On the file system of the machines' disks. */
export async function workDirectory({ dataRoot }: Pick<MachineParts, "dataRoot">) {
  const path = join(directoryOf(dataRoot), newId().slice(0, 12));
  await mkdir(path, { recursive: true, mode: 0o700 });
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export async function removeConversions(
  { dataRoot, images }: Pick<MachineParts, "dataRoot" | "images">,
  ctx: OpContext,
): Promise<void> {
  await rm(directoryOf(dataRoot), { recursive: true, force: true });
  for (const tag of images.list().flatMap(({ tags }) => tags)) {
    if (parseReference(tag).path === `library/${repository}`) {
      await images.remove(ctx, tag, { force: false, noPrune: false });
    }
  }
}

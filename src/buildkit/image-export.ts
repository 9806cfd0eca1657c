/** Results that become the engine's own images, and go to registries. */
import type { OpContext } from "../base/op-context.ts";
import type { ProgressEvent } from "../base/progress.ts";
import { vertexId } from "../build/vertex-output.ts";
import type { ImageService } from "../images/image-service.ts";
import { formatReference, parseReference, withDefaultTag } from "../images/reference.ts";
import type { ImageRecord } from "../schema/image.ts";
import { ownStep } from "./own-step.ts";
import { registryCredentials } from "./session/credentials.ts";
import type { ClientSession } from "./session/sessions.ts";
import type { StatusLog } from "./status-log.ts";

/** The image has its names when this is told. */
export function announceImage(status: StatusLog, image: ImageRecord, names: readonly string[]): void {
  const vertex = { id: vertexId(), name: "exporting to image" };
  status.startedAfterSteps(vertex);
  status.part(vertex.id, "exporting layers", { done: true });
  status.part(vertex.id, `writing image ${image.id}`, { done: true });
  for (const name of names) status.part(vertex.id, `naming to ${normalised(name)}`, { done: true });
  status.completed(vertex.id, { cached: false });
}

export interface PushParts {
  readonly images: ImageService;
  readonly session: ClientSession;
  readonly status: StatusLog;
}

/** With the client's credentials; the digest of the manifest as it was pushed. */
export async function pushImage(
  ctx: OpContext,
  { images, session, status }: PushParts,
  names: readonly string[],
): Promise<string | undefined> {
  let digest: string | undefined;
  for (const name of names) {
    const { domain } = parseReference(name);
    const auth = await registryCredentials(ctx, session, domain);
    await ownStep(status, `pushing ${normalised(name)}`, async (tell) => {
      const progress = (event: ProgressEvent): void => {
        if (event.id !== undefined && event.status !== undefined) {
          const { id, status, current = 0 } = event;
          tell(`pushing layer ${id}`, { current, done: /^(?:Pushed|Mounted|Layer already)/.test(status) });
        }
        digest = pushedDigest(event) ?? digest;
      };
      await images.push(ctx, { reference: name, ...(auth === undefined ? {} : { auth }) }, progress);
      if (digest !== undefined) tell(`pushing manifest for ${normalised(name)}@${digest}`, { done: true });
    });
  }
  return digest;
}

function pushedDigest({ aux }: ProgressEvent): string | undefined {
  const told = typeof aux === "object" && aux !== null && "Digest" in aux ? aux.Digest : undefined;
  return typeof told === "string" ? told : undefined;
}

/** With its registry and its tag. */
export function normalised(name: string): string {
  return formatReference(withDefaultTag(parseReference(name)));
}

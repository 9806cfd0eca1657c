/** FROM: the image or stage that a stage starts from. */
import { isBerthError } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { ProgressSink } from "../../base/progress.ts";
import { noProgress } from "../../base/progress.ts";
import type { RegistryAuth } from "../../images/image-service.ts";
import { platformOf, platformSatisfies } from "../../images/platform.ts";
import { parseReference } from "../../images/reference.ts";
import type { ImageRecord, ImageRunConfig, Platform } from "../../schema/image.ts";
import type { Build } from "../build-parts.ts";
import type { StepState } from "../step-state.ts";

/** Docker's, added to images that have none. */
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** The state at the beginning of a stage, and the triggers that the image has for it. */
export function beginStage(
  build: Build,
  image: ImageRecord | undefined,
  platform: Platform,
): { readonly state: StepState; readonly triggers: readonly string[] } {
  const { OnBuild: triggers, ...inherited } = image?.config.config ?? {};
  const env = inherited.Env ?? [];
  const config: ImageRunConfig = {
    ...inherited,
    Env: env.some((variable) => variable.startsWith("PATH=")) ? env : [...env, defaultPath],
  };
  return {
    state: {
      image,
      platform: image === undefined ? platform : platformOf(image.config),
      config,
      author: "",
      cmdSet: false,
      args: build.args.stage(),
    },
    triggers: triggers ?? [],
  };
}

/**
 * An image by name or id: the local one, unless it is missing, for another platform, or the build asks for fresh ones.
 * `wanted` undefined takes whatever is there.
 */
export async function resolveImage(
  ctx: OpContext,
  build: Build,
  name: string,
  wanted: Platform | undefined,
  progress: ProgressSink = noProgress,
): Promise<ImageRecord> {
  const { images } = build.parts;
  const local = findLocal(build, name);
  const suits = local !== undefined && (wanted === undefined || platformSatisfies(platformOf(local.config), wanted));
  if (suits && !build.request.pull) return local;
  // An id can't be pulled.
  if (local !== undefined && local.id.replace(/^sha256:/, "").startsWith(name.replace(/^sha256:/, ""))) return local;
  const { domain } = parseReference(name);
  const auth = authFor(build.request.auths, domain) ?? (await build.request.askAuth?.(ctx, domain));
  return await images.pull(
    ctx,
    { reference: name, ...(wanted === undefined ? {} : { platform: wanted }), ...(auth === undefined ? {} : { auth }) },
    progress,
  );
}

function findLocal(build: Build, name: string): ImageRecord | undefined {
  try {
    return build.parts.images.resolve(name);
  } catch (error) {
    if (isBerthError(error, "IMAGE_NOT_FOUND")) return undefined;
    throw error;
  }
}

/** Clients key their credentials by host, or by the registry's old URL. */
function authFor(auths: Readonly<Record<string, RegistryAuth>>, domain: string): RegistryAuth | undefined {
  const hosts = domain === "docker.io" ? ["docker.io", "index.docker.io", "registry-1.docker.io"] : [domain];
  for (const [key, auth] of Object.entries(auths)) {
    const host = key.replace(/^https?:\/\//, "").split("/", 1)[0] ?? "";
    if (hosts.includes(host)) return auth;
  }
  return undefined;
}

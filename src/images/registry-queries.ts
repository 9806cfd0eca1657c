import type { OpContext } from "../base/op-context.ts";
import type { Descriptor, Platform } from "../schema/image.ts";
import { parseImageConfig, parseManifestDocument } from "./documents.ts";
import type { RegistryAuth } from "./image-service.ts";
import { platformOf } from "./platform.ts";
import { PullSources } from "./pull-sources.ts";
import { formatFamiliar, parseReference, withDefaultTag } from "./reference.ts";
import type { RegistryClient } from "./registry/client.ts";
import { registryDomain } from "./registry/endpoints.ts";

/** Questions to a registry that store nothing. */
export class RegistryQueries {
  readonly #client: RegistryClient;

  constructor(client: RegistryClient) {
    this.#client = client;
  }

  /** Tries the credentials on the registry that they name (Docker Hub when none). `LOGIN_REFUSED` (401) when they are wrong. */
  async login(ctx: OpContext, auth: RegistryAuth): Promise<{ readonly identityToken?: string }> {
    const identityToken = await this.#client.login(ctx, registryDomain(auth.serverAddress ?? ""), auth);
    return identityToken === undefined ? {} : { identityToken };
  }

  /** What a reference names in its registry, or a mirror of it, and the platforms that it is for. */
  async inspect(
    ctx: OpContext,
    text: string,
    auth?: RegistryAuth,
  ): Promise<{ readonly descriptor: Descriptor; readonly platforms: readonly Platform[] }> {
    const reference = withDefaultTag(parseReference(text));
    const name = formatFamiliar(reference);
    const sources = new PullSources(this.#client.forPull(ctx, reference, auth));
    const { result } = await sources.firstThat(ctx, 0, async (source) => {
      const { bytes, digest, mediaType } = await source.manifest(ctx, reference.digest ?? reference.tag ?? "", name);
      const document = parseManifestDocument(bytes, mediaType, name);
      const descriptor = { mediaType: document.mediaType, digest, size: bytes.length };
      if (document.kind === "index") {
        const platforms = document.index.manifests.flatMap(({ platform }) =>
          platform === undefined ? [] : [platform],
        );
        return { descriptor, platforms };
      }
      const config = parseImageConfig(await source.smallBlob(ctx, document.manifest.config), name);
      return { descriptor, platforms: [platformOf(config)] };
    });
    return result;
  }
}

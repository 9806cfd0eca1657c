import { AuthBody } from "../../../schema/docker/system.ts";
import { decodeRegistryAuth, registryAuth } from "../codecs/registry-auth.ts";
import { ok, type Route, route } from "../route.ts";

export const distributionRoutes: readonly Route[] = [
  route({
    method: "POST",
    path: "/auth",
    summary: "Check credentials with a registry (docker login)",
    body: AuthBody,
    handle: async ({ backend, ctx, body }) => {
      const { identityToken = "" } = await backend.registry.login(ctx, registryAuth(body));
      return ok({ Status: "Login Succeeded", IdentityToken: identityToken });
    },
  }),
  route({
    method: "GET",
    path: "/distribution/{name}/json",
    summary: "What a reference names in its registry",
    since: 30,
    handle: async ({ backend, ctx, name, request }) => {
      const auth = decodeRegistryAuth(request.headers["x-registry-auth"]);
      const { descriptor, platforms } = await backend.registry.inspect(ctx, name, auth);
      return ok({
        Descriptor: { mediaType: descriptor.mediaType, digest: descriptor.digest, size: descriptor.size },
        Platforms: platforms,
      });
    },
  }),
];

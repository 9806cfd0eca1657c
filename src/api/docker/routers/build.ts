import { BuildQuery, PruneBuildQuery } from "../../../schema/docker/build.ts";
import { buildRequest } from "../codecs/build-request.ts";
import { decodeRegistryConfig } from "../codecs/registry-auth.ts";
import { apiErrors } from "../errors.ts";
import { ok, type Route, route, streamed } from "../route.ts";
import { streamProgress } from "../streams/json-stream.ts";

export const buildRoutes: readonly Route[] = [
  route({
    method: "POST",
    path: "/build",
    summary: "Build an image from a Dockerfile; the body is the context as a tar",
    query: BuildQuery,
    handle: async (call) => {
      const { backend, ctx, query, request, version } = call;
      const auths = decodeRegistryConfig(request.headers["x-registry-config"]);
      const build = buildRequest(query, request.raw, auths, backend);
      await streamProgress(
        call,
        async (progress) => {
          await backend.builder.build(ctx, build, progress);
        },
        { aux: version.atLeast(30) },
      );
      return streamed;
    },
  }),
  route({
    method: "POST",
    path: "/build/prune",
    summary: "Forget the build cache",
    since: 31,
    query: PruneBuildQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, query }) => {
      for (const name of ["keep-storage", "reserved-space", "max-used-space", "min-free-space"] as const) {
        if ((query[name] ?? 0) !== 0)
          throw apiErrors.API_UNSUPPORTED({ what: name, hint: "all unused cache is removed" });
      }
      const { deleted, reclaimedBytes } = await backend.builder.pruneCache(ctx, {
        all: query.all,
        filters: query.filters,
      });
      // Those of machines are a cache as well, of which no filter says anything.
      const templates = Object.keys(query.filters).length === 0 ? await backend.system.machineTemplates.prune() : [];
      const gone = [...deleted, ...templates.map(({ key }) => key)];
      const SpaceReclaimed = templates.reduce((sum, { bytes }) => sum + bytes, reclaimedBytes);
      return ok({ CachesDeleted: gone.length === 0 ? null : gone, SpaceReclaimed });
    },
  }),
  route({
    method: "POST",
    path: "/build/cancel",
    summary: "Not supported: close the connection of a build to cancel it",
    since: 39,
    handle: () => {
      throw apiErrors.API_UNSUPPORTED({ what: "cancelling a build by id", hint: "close its connection instead" });
    },
  }),
  ...(["/session", "/grpc"] as const).map((path) =>
    route({
      method: "POST",
      path,
      summary: "BuildKit's connection: not supported yet",
      handle: () => {
        throw apiErrors.API_UNSUPPORTED({ what: "BuildKit", hint: "build with DOCKER_BUILDKIT=0" });
      },
    }),
  ),
];

import { BuildQuery, CancelBuildQuery, PruneBuildQuery } from "../../../schema/docker/build.ts";
import type { BuildRequest } from "../../../build/build-service.ts";
import { buildRequest } from "../codecs/build-request.ts";
import { decodeRegistryConfig } from "../codecs/registry-auth.ts";
import { apiErrors } from "../errors.ts";
import { type Call, done, ok, type Route, route, streamed } from "../route.ts";
import { takeHttp2Socket } from "../streams/connection.ts";
import { type JsonStream, streamProgress } from "../streams/json-stream.ts";

export const buildRoutes: readonly Route[] = [
  route({
    method: "POST",
    path: "/build",
    summary: "Build an image from a Dockerfile; the body is the context as a tar",
    query: BuildQuery,
    handle: async (call) => {
      const { backend, ctx, query, request, version } = call;
      if (query.version === "2" && query.buildid.startsWith(uploadPrefix)) {
        await (await backend.buildKit()).upload(ctx, query.buildid.slice(uploadPrefix.length), request.raw);
        return done;
      }
      const auths = decodeRegistryConfig(request.headers["x-registry-config"]);
      const build = buildRequest(query, request.raw, auths, backend);
      await streamProgress(
        call,
        async (progress, stream) => {
          if (query.version === "2") await buildTraced(call, build, query, stream);
          else await backend.builder.build(ctx, build, progress);
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
    summary: "Cancel a build of version 2 by its buildid; closing its connection does the same",
    since: 39,
    query: CancelBuildQuery,
    handle: async ({ backend, query }) => {
      if (query.id === "") throw apiErrors.API_BAD_REQUEST({ message: "build ID not provided" });
      (await backend.buildKit()).cancel(query.id);
      return done;
    },
  }),
  route({
    method: "POST",
    path: "/grpc",
    summary: "BuildKit's API on an upgraded connection (h2c): docker build and docker buildx",
    handle: async (call) => {
      checkUpgrade(call);
      const buildKit = await call.backend.buildKit();
      await buildKit.serve(takeHttp2Socket(call));
      return streamed;
    },
  }),
  route({
    method: "POST",
    path: "/session",
    summary: "A build client's own services on an upgraded connection (h2c): its files, secrets and credentials",
    handle: async (call) => {
      checkUpgrade(call);
      const headers = call.request.raw.headersDistinct;
      const id = headers["x-docker-expose-session-uuid"]?.[0] ?? "";
      const buildKit = await call.backend.buildKit();
      buildKit.checkSession(id);
      const methods = headers["x-docker-expose-session-grpc-method"] ?? [];
      await buildKit.serveSession(id, methods, takeHttp2Socket(call));
      return streamed;
    },
  }),
];

/** Marks a request that has nothing but the context of another one. */
const uploadPrefix = "upload-request:";

/** As Docker's BuildKit answers here: each change in base 64, and the image's id last. */
async function buildTraced(
  { backend, ctx }: Pick<Call, "backend" | "ctx">,
  request: BuildRequest,
  { remote, session, buildid }: BuildQuery,
  stream: JsonStream,
): Promise<void> {
  const buildKit = await backend.buildKit();
  const image = await buildKit.build(ctx, {
    request,
    remote,
    session,
    buildId: buildid,
    onTrace: (trace) => stream.write({ id: "moby.buildkit.trace", aux: Buffer.from(trace).toString("base64") }),
  });
  stream.write({ id: "moby.image.id", aux: { ID: image.id } });
}

/** As long as the connection speaks HTTP/1.1, a refusal can be told. */
function checkUpgrade({ request }: Call): void {
  const upgrade = request.headers.upgrade ?? "";
  if (upgrade.toLowerCase() !== "h2c") {
    throw apiErrors.API_BAD_REQUEST({
      message: upgrade === "" ? "no upgrade proto in request" : `protocol ${upgrade} not supported`,
    });
  }
}

import { infoJson, versionJson } from "../codecs/system-json.ts";
import { type Call, ok, type Route, route, streamed } from "../route.ts";

export const systemRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/_ping",
    summary: "Say that the engine is there, and which versions it speaks",
    handle: (call) => ping(call, "OK"),
  }),
  route({
    method: "HEAD",
    path: "/_ping",
    summary: "Say that the engine is there, and which versions it speaks",
    handle: (call) => ping(call, ""),
  }),
  route({
    method: "GET",
    path: "/version",
    summary: "Versions of the engine and its parts",
    handle: ({ backend }) => ok(versionJson(backend.system.facts)),
  }),
  route({
    method: "GET",
    path: "/info",
    summary: "The engine and its machine",
    handle: async ({ backend, ctx, version }) => {
      const counts = {
        instances: backend.instances.list(),
        images: backend.images.list({ intermediate: true }).length,
      };
      return ok(infoJson(backend.system.facts, await backend.system.info(ctx), counts, version));
    },
  }),
];

/** Builder-Version 1 tells clients that the classic builder is the one to use. */
function ping({ reply }: Call, body: string) {
  reply
    .code(200)
    .headers({
      "Cache-Control": "no-cache, no-store, must-revalidate",
      Pragma: "no-cache",
      "Builder-Version": "1",
      Swarm: "inactive",
      "Content-Type": "text/plain; charset=utf-8",
    })
    .send(body);
  return streamed;
}

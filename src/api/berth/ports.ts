/** Published ports of a container, or of a machine, changed without making it anew. */
import { PublishBody, PublishedPorts, UnpublishQuery } from "../../schema/docker/berth.ts";
import { ok, type Route, route } from "../docker/route.ts";

const path = "/berth/v1/containers/{id}/ports";

export const portRoutes: readonly Route[] = [
  route({
    method: "POST",
    path,
    summary: "Publish further ports: at once when it runs, else at its next start",
    body: PublishBody,
    answer: PublishedPorts,
    handle: async ({ backend, ctx, name, body }) =>
      ok({ ports: await backend.instances.publish(ctx, name, body.ports) }),
  }),
  route({
    method: "DELETE",
    path,
    summary: "Take published ports away; connections that were made through them live on",
    query: UnpublishQuery,
    answer: PublishedPorts,
    handle: async ({ backend, ctx, name, query }) =>
      ok({ ports: await backend.instances.unpublish(ctx, name, { ...query, protocol: query.protocol ?? "tcp" }) }),
  }),
];

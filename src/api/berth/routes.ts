/** What Docker's API has no words for. Served beside it, without a version in the path. */
import { CapacityReport } from "../../schema/capacity.ts";
import { BootstrapBody, CapacityQuery } from "../../schema/docker/berth.ts";
import { convertRoutes } from "./convert.ts";
import { machineImageRoutes } from "./machine-images.ts";
import { portRoutes } from "./ports.ts";
import { usageRoutes } from "./usage.ts";
import { ok, type Route, route, streamed } from "../docker/route.ts";
import { streamProgress } from "../docker/streams/json-stream.ts";

export const berthRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/berth/info",
    summary: "The engine: its tag, paths, runtime, control group mode and settings",
    handle: async ({ backend, ctx }) => ok(await backend.system.engineInfo(ctx)),
  }),
  route({
    method: "GET",
    path: "/berth/v1/capacity",
    summary: "What the machine has, who reserves how much of it, what is shared, and what is used now",
    query: CapacityQuery,
    answer: CapacityReport,
    handle: async ({ backend, ctx, query }) => ok(await backend.system.capacity(ctx, { verbose: query.verbose })),
  }),
  route({
    method: "POST",
    path: "/berth/images/bootstrap",
    summary: "Make a base image from the distribution's mirror; answers progress as a pull does",
    body: BootstrapBody,
    handle: async (call) => {
      const { backend, ctx, body } = call;
      const request = {
        reference: body.reference,
        ...(body.as ? { as: body.as } : {}),
        ...(body.include ? { include: body.include } : {}),
        ...(body.mirror ? { mirror: body.mirror } : {}),
      };
      await streamProgress(call, async (progress) => {
        const image = await backend.images.bootstrap(ctx, request, progress);
        progress({ status: image.id });
      });
      return streamed;
    },
  }),
  ...portRoutes,
  ...usageRoutes,
  ...machineImageRoutes,
  ...convertRoutes,
];

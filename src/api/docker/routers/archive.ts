import { ArchiveQuery } from "../../../schema/docker/container.ts";
import type { PathStat } from "../../../instances/instance-service.ts";
import { apiErrors } from "../errors.ts";
import { done, type Route, route, streamed } from "../route.ts";
import { sendStream } from "../streams/send-stream.ts";

const statHeader = "X-Docker-Container-Path-Stat";

export const archiveRoutes: readonly Route[] = [
  route({
    method: "HEAD",
    path: "/containers/{id}/archive",
    summary: "What a path in a container is, in a header",
    query: ArchiveQuery,
    handle: async ({ backend, ctx, name, query, reply }) => {
      const stat = await backend.instances.statPath(ctx, name, required(query.path));
      reply.header(statHeader, encodeStat(stat));
      return done;
    },
  }),
  route({
    method: "GET",
    path: "/containers/{id}/archive",
    summary: "Files of a container as a tar",
    query: ArchiveQuery,
    handle: async (call) => {
      const { backend, ctx, name, query } = call;
      const { stat, tar } = await backend.instances.copyFrom(ctx, name, required(query.path));
      await sendStream(call, tar, "application/x-tar", { [statHeader]: encodeStat(stat) });
      return streamed;
    },
  }),
  route({
    method: "PUT",
    path: "/containers/{id}/archive",
    summary: "Unpack a tar into a directory of a container",
    query: ArchiveQuery,
    handle: async ({ backend, ctx, name, query, request }) => {
      await backend.instances.copyTo(ctx, name, required(query.path), request.raw, {
        noOverwriteDirNonDir: query.noOverwriteDirNonDir,
        copyUidGid: query.copyUIDGID,
      });
      return done;
    },
  }),
  route({
    method: "GET",
    path: "/containers/{id}/export",
    summary: "A container's file system as a tar",
    handle: async (call) => {
      const tar = await call.backend.instances.export(call.ctx, call.name);
      await sendStream(call, tar, "application/x-tar");
      return streamed;
    },
  }),
];

function required(path: string): string {
  if (path === "") throw apiErrors.API_BAD_REQUEST({ message: "bad parameter: path cannot be empty" });
  return path;
}

function encodeStat(stat: PathStat): string {
  return Buffer.from(JSON.stringify(stat)).toString("base64");
}

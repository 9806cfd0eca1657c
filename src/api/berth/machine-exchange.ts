/** Machines as files, in and out. */
import { MachineView } from "../../schema/machine-api.ts";
import { ExportMachineQuery, ImportMachineQuery } from "../../schema/machine-exchange-api.ts";
import { type Route, route, streamed } from "../docker/route.ts";
import { streamProgress } from "../docker/streams/json-stream.ts";
import { sendStream } from "../docker/streams/send-stream.ts";

export const machineExchangeRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/berth/v1/machines/{id}/export",
    summary: "A machine that is off as an OVA archive, or one of its disks as a file",
    query: ExportMachineQuery,
    handle: async (call) => {
      const { backend, ctx, name, query } = call;
      const { fileName, body } = await backend.machines.export(ctx, name, {
        format: query.format === "" ? "ova" : query.format,
        disk: query.disk,
      });
      const disposition = `attachment; filename="${fileName.replaceAll('"', "")}"`;
      await sendStream(call, body, "application/octet-stream", { "Content-Disposition": disposition });
      return streamed;
    },
  }),
  route({
    method: "POST",
    path: "/berth/v1/machines/import",
    summary: "Make a machine of an OVA archive or a disk's file, the body; answers as its creation does",
    query: ImportMachineQuery,
    answer: MachineView,
    handle: async (call) => {
      const { backend, ctx, query, request } = call;
      await streamProgress(call, async (progress) => {
        const { id } = await backend.machines.import(ctx, query, request.raw, progress);
        progress({ aux: backend.machines.view(backend.machines.resolve(id)) });
      });
      return streamed;
    },
  }),
];

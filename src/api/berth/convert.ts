/** From containers and images to machines, and back. */
import { MachineView } from "../../schema/machine-api.ts";
import { ConvertToImageBody, ConvertToMachineBody } from "../../schema/machine-convert-api.ts";
import { type Route, route, streamed } from "../docker/route.ts";
import { streamProgress } from "../docker/streams/json-stream.ts";

export const convertRoutes: readonly Route[] = [
  route({
    method: "POST",
    path: "/berth/v1/convert/machine",
    summary: "Make a machine of a container or an image; answers as a machine's creation does",
    body: ConvertToMachineBody,
    answer: MachineView,
    handle: async (call) => {
      const { backend, ctx, body } = call;
      await streamProgress(call, async (progress) => {
        const { id } = await backend.machines.convertToMachine(ctx, body, progress);
        progress({ aux: backend.machines.view(backend.machines.resolve(id)) });
      });
      return streamed;
    },
  }),
  route({
    method: "POST",
    path: "/berth/v1/convert/image",
    summary:
      "Make an image of the root file system on a machine's disk or a disk's file; answers progress as a pull does, the image's id last",
    body: ConvertToImageBody,
    handle: async (call) => {
      const { backend, ctx, body } = call;
      await streamProgress(call, async (progress) => {
        const image = await backend.machines.convertToImage(ctx, body, progress);
        progress({ status: image.id, aux: { ID: image.id } });
      });
      return streamed;
    },
  }),
];

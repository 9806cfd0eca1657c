/** Disks of machines as images. */
import { BuildMachineImageBody, ImportMachineDiskQuery } from "../../schema/docker/machine-image.ts";
import { type Route, route, streamed } from "../docker/route.ts";
import { streamProgress } from "../docker/streams/json-stream.ts";

export const machineImageRoutes: readonly Route[] = [
  route({
    method: "POST",
    path: "/berth/v1/machine-images/build",
    summary: "Make a bootable disk of an image or a distribution; answers progress as a pull does, the image's id last",
    body: BuildMachineImageBody,
    handle: async (call) => {
      const { backend, ctx, body } = call;
      const request = {
        source: body.source,
        ...(body.tag ? { tag: body.tag } : {}),
        ...(body.size === undefined ? {} : { size: body.size }),
        ...(body.from === undefined ? {} : { from: body.from }),
        ...(body.packages ? { packages: body.packages } : {}),
        ...(body.mirror ? { mirror: body.mirror } : {}),
      };
      await streamProgress(call, async (progress) => {
        const image = await backend.machineImages.build(ctx, request, progress);
        progress({ status: image.id, aux: { ID: image.id } });
      });
      return streamed;
    },
  }),
  route({
    method: "POST",
    path: "/berth/v1/machine-images/import",
    summary: "Make an image of a disk: the request's body is a qcow2, raw, vmdk, vdi, vhdx or vhd file",
    query: ImportMachineDiskQuery,
    handle: async (call) => {
      const { backend, ctx, query, request } = call;
      const disk = {
        disk: request.raw,
        tag: query.tag,
        name: query.name === "" ? "the disk" : query.name,
        ...(query.size === undefined ? {} : { size: query.size }),
      };
      await streamProgress(call, async (progress) => {
        const image = await backend.machineImages.fromDisk(ctx, disk, progress);
        progress({ status: image.id, aux: { ID: image.id } });
      });
      return streamed;
    },
  }),
];

/** From containers and images to machines, and back: `/berth/v1/convert/…`. */
import { type Static, Type } from "typebox";
import { CreateMachineBody } from "./machine-api.ts";

/** `POST /berth/v1/convert/machine`. Everything but the source is as for a machine's creation. */
export const ConvertToMachineBody = Type.Object({
  ...Type.Omit(CreateMachineBody, ["image", "iso", "diskFile"]).properties,
  source: Type.String({
    minLength: 1,
    description: "Container (name or id), as it is now; else an image that is here",
  }),
  keepImage: Type.Optional(
    Type.String({
      minLength: 1,
      description: "Keep the machine's disk as an image of this name; else it is the machine's alone",
    }),
  ),
});
export type ConvertToMachineBody = Static<typeof ConvertToMachineBody>;

/** `POST /berth/v1/convert/image`. One of `machine` and `diskFile`. */
export const ConvertToImageBody = Type.Object({
  machine: Type.Optional(Type.String({ minLength: 1, description: "Machine, by name or id; it may run" })),
  disk: Type.Optional(Type.String({ minLength: 1, description: "Which of its disks; the first by default" })),
  diskFile: Type.Optional(
    Type.String({ pattern: "^/", description: "A disk on the engine's host: qcow2, raw, vmdk, vdi, vhdx" }),
  ),
  reference: Type.String({ minLength: 1, description: "Name of the image" }),
  changes: Type.Optional(
    Type.Array(Type.String(), {
      description: "Dockerfile instructions for its configuration, as docker import takes them",
    }),
  ),
});
export type ConvertToImageBody = Static<typeof ConvertToImageBody>;

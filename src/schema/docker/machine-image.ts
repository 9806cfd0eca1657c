/** Requests of `/berth/v1/machine-images`. */
import { Type } from "typebox";
import { param, strings, text } from "./fields.ts";

const from = Type.Union([Type.Literal("image"), Type.Literal("distribution")], {
  description: "Where to look for the source; among the images first when it is left out",
});

export const BuildMachineImageBody = Type.Object({
  source: Type.String({ minLength: 1, description: 'An image that is here, or a distribution: "debian:bookworm"' }),
  tag: text("Name of the result; machine/<source> when it is left out"),
  size: Type.Optional(Type.Integer({ minimum: 1, description: "Bytes of the disk; 4 GiB or what the files need" })),
  from: Type.Optional(from),
  packages: strings("Distribution: further packages"),
  mirror: text("Distribution: its mirror, instead of the host's"),
});

export const ImportMachineDiskQuery = Type.Object({
  tag: Type.String({ minLength: 1, description: "Name of the image" }),
  name: param.text("The file's name, for messages"),
  size: param.integer("Bytes of the disk, to make it larger"),
});

/** Machines in and out: `/berth/v1/machines/import` and `…/{id}/export`. */
import { type Static, Type } from "typebox";
import { param } from "./docker/fields.ts";

/** Formats of one disk, and "ova": the whole machine. "vpc" is Microsoft's vhd. */
export const ExportFormat = Type.Union([
  Type.Literal("ova"),
  Type.Literal("qcow2"),
  Type.Literal("raw"),
  Type.Literal("vmdk"),
  Type.Literal("vdi"),
  Type.Literal("vhdx"),
  Type.Literal("vpc"),
]);
export type ExportFormat = Static<typeof ExportFormat>;

export const ExportMachineQuery = Type.Object({
  format: param.text("ova (the whole machine), or a disk's: qcow2, raw, vmdk, vdi, vhdx, vpc"),
  disk: param.text('Which disk, by its name; "" is the first'),
});

export const ImportMachineQuery = Type.Object({
  name: param.text("Name of the machine; that in the description when it is left out"),
  file: param.text("Name of the file that is sent, for messages"),
  networks: param.texts("Network for the cards: NAME for all, or THEIRS=NAME for those of one of the description's"),
  start: param.flag("Start it as well"),
});

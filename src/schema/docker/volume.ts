import { type Static, Type } from "typebox";
import { field, param, stringMap, text } from "./fields.ts";

export const CreateVolumeBody = Type.Object({
  Name: text("Empty makes an anonymous one"),
  Driver: text('"local"'),
  DriverOpts: stringMap("type, device and o, as mount(8) takes them"),
  Labels: stringMap(),
  ClusterVolumeSpec: field(Type.Unknown(), "Not supported (Swarm)"),
});
export type CreateVolumeBody = Static<typeof CreateVolumeBody>;

export const ListVolumesQuery = Type.Object({ filters: param.filters("dangling", "driver", "label", "name") });
export const RemoveVolumeQuery = Type.Object({ force: param.flag("No error when there is none") });
export const PruneVolumesQuery = Type.Object({ filters: param.filters("all", "label", "label!") });

import { type Static, Type } from "typebox";

/** A volume in the store. `driver` "local" only: a directory under the data root, or what `options` mount (type, device, o). */
export const VolumeRecord = Type.Object({
  name: Type.String(),
  driver: Type.Literal("local"),
  /** Absolute path on the host. */
  mountpoint: Type.String(),
  labels: Type.Record(Type.String(), Type.String()),
  /** Docker's local-driver options: "type", "device", "o". */
  options: Type.Record(Type.String(), Type.String()),
  /** ISO 8601. */
  createdAt: Type.String(),
  /** Made without a name by `-v /path` or an image's VOLUME; removed with `rm -v` and by `prune`. */
  anonymous: Type.Boolean(),
  /** The instance whose creation made it, until somebody else asks for it: with a creation that fails it goes. */
  madeFor: Type.Optional(Type.String()),
});
export type VolumeRecord = Static<typeof VolumeRecord>;

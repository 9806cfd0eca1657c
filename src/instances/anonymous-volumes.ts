import type { InstanceSpec } from "../schema/instance.ts";

/** Names of the volumes made for this instance without a name by its user: they go with it (`rm -v`, `--rm`). */
export function anonymousVolumes(spec: InstanceSpec): readonly string[] {
  return spec.mounts.flatMap((mount) => (mount.type === "volume" && mount.anonymous ? [mount.name] : []));
}

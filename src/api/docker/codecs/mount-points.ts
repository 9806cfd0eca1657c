import type { InstanceRecord, InstanceSpec, MountSpec } from "../../../schema/instance.ts";
import type { VolumeService } from "../../../volumes/volume-service.ts";

/** Docker's `Mounts` of inspect and list. Like Docker's, without what `--tmpfs` made. */
export function mountPoints(record: InstanceRecord, volumes: VolumeService): readonly object[] {
  const modes = bindModes(record);
  const mounted = mountFieldTargets(record.spec);
  return record.spec.mounts.flatMap((mount) => {
    if (mount.type === "tmpfs" && !mounted.has(mount.target)) return [];
    return [mountPoint(mount, modes.get(mount.target), volumes)];
  });
}

function mountPoint(mount: MountSpec, mode: string | undefined, volumes: VolumeService): object {
  switch (mount.type) {
    case "bind":
      return {
        Type: "bind",
        Source: mount.source,
        Destination: mount.target,
        Mode: mode ?? "",
        RW: !mount.readOnly,
        Propagation: mount.propagation,
      };
    case "volume":
      return {
        Type: "volume",
        Name: mount.name,
        Source: volumes.get(mount.name)?.mountpoint ?? "",
        Destination: mount.target,
        Driver: "local",
        // Docker shows the SELinux label that `-v` gives a volume.
        Mode: mode === "" || (mode === undefined && !mount.anonymous) ? "z" : (mode ?? ""),
        RW: !mount.readOnly,
        Propagation: "",
      };
    case "tmpfs":
      return { Type: "tmpfs", Source: "", Destination: mount.target, Mode: "", RW: true, Propagation: "" };
  }
}

/** Options of `-v source:target:options`, by target. */
function bindModes(record: InstanceRecord): ReadonlyMap<string, string> {
  const binds = record.spec.passthrough["HostConfig.Binds"];
  if (!Array.isArray(binds)) return new Map();
  return new Map(
    binds.map((bind) => {
      const [, target = "", mode = ""] = String(bind).split(":");
      return [target, mode] as const;
    }),
  );
}

/** Targets of what the client wrote as `Mounts` (`--mount`), as against `-v` and `--tmpfs`. */
export function mountFieldTargets(spec: InstanceSpec): ReadonlySet<unknown> {
  const mounts = spec.passthrough["HostConfig.Mounts"];
  if (!Array.isArray(mounts)) return new Set();
  return new Set(
    mounts.map((mount: unknown) =>
      typeof mount === "object" && mount !== null && "Target" in mount ? mount.Target : undefined,
    ),
  );
}

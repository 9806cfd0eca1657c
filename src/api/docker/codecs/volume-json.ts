import type { VolumeRecord } from "../../../schema/volume.ts";

export interface VolumeUsage {
  /** Bytes; -1 when it was not computed. */
  readonly Size: number;
  /** Containers that hold it; -1 when it was not computed. */
  readonly RefCount: number;
}

/** A volume as Docker shows it. */
export function volumeJson(volume: VolumeRecord, usage?: VolumeUsage): object {
  return {
    CreatedAt: volume.createdAt.replace(/\.\d+(?=Z|[+-])/, ""),
    Driver: volume.driver,
    Labels: labelsOf(volume),
    Mountpoint: volume.mountpoint,
    Name: volume.name,
    Options: Object.keys(volume.options).length === 0 ? null : volume.options,
    Scope: "local",
    ...(usage === undefined ? {} : { UsageData: usage }),
  };
}

/** Docker marks anonymous volumes by a label; tools look for it. */
function labelsOf(volume: VolumeRecord): Readonly<Record<string, string>> | null {
  const labels = volume.anonymous ? { "com.docker.volume.anonymous": "", ...volume.labels } : volume.labels;
  return Object.keys(labels).length === 0 ? null : labels;
}

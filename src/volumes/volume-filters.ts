/** Filters of `volume prune`: label, label!, all. Pure. */
import type { VolumeRecord } from "../schema/volume.ts";
import { volumeErrors } from "./errors.ts";

export type VolumeFilters = Readonly<Record<string, readonly string[]>>;

/** Which volumes `prune` may take: anonymous ones, or any with `all`, that have the labels. `VOLUME_FILTER_INVALID`. */
export function prunable(filters: VolumeFilters): (volume: VolumeRecord) => boolean {
  const { all = [], label = [], "label!": notLabel = [], ...others } = filters;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw volumeErrors.VOLUME_FILTER_INVALID({ filter: unknown });
  const named = all.map(isTrue).includes(true);
  return (volume) =>
    (volume.anonymous || named) &&
    label.every((wanted) => hasLabel(volume, wanted)) &&
    !notLabel.some((unwanted) => hasLabel(volume, unwanted));
}

function isTrue(value: string): boolean {
  if (["1", "t", "true", "TRUE", "True"].includes(value)) return true;
  if (["0", "f", "false", "FALSE", "False"].includes(value)) return false;
  throw volumeErrors.VOLUME_FILTER_INVALID({ filter: `all=${value}` });
}

function hasLabel(volume: VolumeRecord, wanted: string): boolean {
  const cut = wanted.indexOf("=");
  return cut === -1 ? wanted in volume.labels : volume.labels[wanted.slice(0, cut)] === wanted.slice(cut + 1);
}

import type { Clock } from "../base/clock.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { Processes } from "../host/host.ts";
import type { Platform } from "../schema/image.ts";
import type { Garbage } from "./garbage.ts";
import type { ImageEvents } from "./image-events.ts";
import type { ImageStore } from "./image-store.ts";
import type { LayerConversions } from "./layer-conversions.ts";
import type { Leases } from "./leases.ts";
import type { Unpacker } from "./unpack.ts";

/** What the image verbs share. One for an engine; made by `createImageService`. */
export interface ImageRoom {
  readonly images: ImageStore;
  readonly content: ContentStore;
  readonly unpacker: Unpacker;
  readonly leases: Leases;
  readonly garbage: Garbage;
  readonly conversions: LayerConversions;
  readonly events: ImageEvents;
  readonly clock: Clock;
  readonly processes: Processes;
  /** What this machine runs. */
  readonly platform: Platform;
}

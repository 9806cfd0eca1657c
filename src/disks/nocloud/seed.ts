/**
 * The disk from which cloud-init takes what is particular to one machine (its NoCloud data source): an image labelled "cidata" with
 * user-data, meta-data and network-config. To be attached as a virtio disk: Debian's cloud kernel has no driver for a CD drive.
 */
import type { CloudInit } from "../../schema/cloud-init.ts";
import { isoImage } from "../iso9660.ts";
import { networkConfig, type SeedNic } from "./network-config.ts";
import { userData } from "./user-data.ts";
import { yaml } from "./yaml.ts";

export interface SeedRequest {
  /** A new one makes the machine do all of it once more: the instance's id, and another for each clone. */
  readonly instanceId: string;
  readonly hostname: string;
  readonly cloudInit: CloudInit;
  /** The cards that are to be configured; without any, cloud-init takes the first one, with DHCP. */
  readonly nics: readonly SeedNic[];
  /** Of the files in it. */
  readonly date: Date;
}

/** The bytes of the seed, some 60 KiB. `CLOUD_INIT_INVALID`. */
export function nocloudSeed({ instanceId, hostname, cloudInit, nics, date }: SeedRequest): Buffer {
  const files = {
    "user-data": userData(cloudInit),
    "meta-data": yaml({ "instance-id": instanceId, "local-hostname": hostname }),
    ...(nics.length === 0 ? {} : { "network-config": yaml(networkConfig(nics)) }),
  };
  const entries = Object.entries(files).map(([name, text]) => ({ name, contents: Buffer.from(text) }));
  return isoImage("cidata", entries, date);
}

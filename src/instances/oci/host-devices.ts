import type { Stats } from "node:fs";
import { lstat, readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import type { DeviceSpec } from "../../schema/instance.ts";
import type { ResourceSpec } from "../../schema/resources.ts";
import { ociErrors } from "./errors.ts";
import type { GrantedDevice } from "./spec/device-rules.ts";
import type { OciDevice } from "./spec/oci-spec.ts";
import type { BlockDevices } from "./spec/resources.ts";

/** Directories of /dev that are a container's own business. */
const notDevices: ReadonlySet<string> = new Set(["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"]);

/**
 * Device nodes that an instance gets: those of `--device` (a node, or a directory with all nodes below), and when it is
 * privileged every one of this host. `DEVICE_NOT_FOUND` names the path.
 */
export async function grantedDevices(
  devices: readonly DeviceSpec[],
  privileged: boolean,
): Promise<readonly GrantedDevice[]> {
  const all = privileged ? await nodesBelow("/dev", "/dev", "rwm") : [];
  const asked = await Promise.all(
    devices.filter((one) => !privileged || one.pathOnHost !== one.pathInContainer).map(nodesOf),
  );
  return [...all, ...asked.flat()];
}

/** Numbers of the block devices that limits name. */
export async function blockDevices(resources: ResourceSpec): Promise<BlockDevices> {
  const paths = new Set(
    [
      resources.blkioWeightDevice,
      resources.blkioDeviceReadBps,
      resources.blkioDeviceWriteBps,
      resources.blkioDeviceReadIops,
      resources.blkioDeviceWriteIops,
    ].flatMap((list) => list.map(({ path }) => path)),
  );
  const found = await Promise.all(
    [...paths].map(async (path) => {
      const stats = await statDevice(path);
      if (!stats.isBlockDevice()) throw ociErrors.DEVICE_NOT_FOUND({ path, reason: "not a block device" });
      return [path, numbersOf(stats)] as const;
    }),
  );
  return new Map(found);
}

async function nodesOf(spec: DeviceSpec): Promise<readonly GrantedDevice[]> {
  const stats = await statDevice(spec.pathOnHost);
  const access = spec.permissions === "" ? "rwm" : spec.permissions;
  const node = deviceNode(spec.pathInContainer, stats);
  if (node !== undefined) return [{ device: node, access }];
  const nodes = stats.isDirectory()
    ? await nodesBelow(await realpath(spec.pathOnHost), spec.pathInContainer, access)
    : [];
  if (nodes.length === 0) throw ociErrors.DEVICE_NOT_FOUND({ path: spec.pathOnHost, reason: "not a device node" });
  return nodes;
}

async function statDevice(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (error) {
    const reason = messageOf(error).includes("ENOENT") ? "no such file or directory" : messageOf(error);
    throw ociErrors.DEVICE_NOT_FOUND({ path, reason }, { cause: error });
  }
}

async function nodesBelow(dir: string, inContainer: string, access: string): Promise<readonly GrantedDevice[]> {
  const entries = await readdir(dir, { withFileTypes: true });
  const nodes = await Promise.all(
    entries.map(async (entry): Promise<readonly GrantedDevice[]> => {
      const path = join(dir, entry.name);
      if (entry.isDirectory()) {
        return notDevices.has(entry.name) ? [] : await nodesBelow(path, join(inContainer, entry.name), access);
      }
      if (!entry.isCharacterDevice() && !entry.isBlockDevice()) return [];
      const device = deviceNode(join(inContainer, entry.name), await lstat(path));
      return device === undefined || path === "/dev/console" ? [] : [{ device, access }];
    }),
  );
  return nodes.flat();
}

function deviceNode(path: string, stats: Stats): OciDevice | undefined {
  if (!stats.isCharacterDevice() && !stats.isBlockDevice()) return undefined;
  return {
    path,
    type: stats.isBlockDevice() ? "b" : "c",
    ...numbersOf(stats),
    fileMode: stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
  };
}

/** glibc's encoding of dev_t (sysmacros.h): 12 + 20 bits of major, 8 + 24 of minor. */
function numbersOf(stats: Stats): { readonly major: number; readonly minor: number } {
  const device = BigInt(stats.rdev);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xffff_f000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffff_ff00n);
  return { major: Number(major), minor: Number(minor) };
}

import { lstat, stat } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { Reverter } from "../base/reverter.ts";
import { mkdir } from "../host/files.ts";
import type { InstanceRecord, MountSpec } from "../schema/instance.ts";
import type { ResolvedMount } from "./driver.ts";
import { instanceErrors } from "./errors.ts";
import { resolveInRoot } from "./files/resolve-in-root.ts";
import type { Parts } from "./parts.ts";
import { invalid } from "./validate/invalid.ts";

/** Files that the network room keeps for an instance. */
export interface NetworkFiles {
  readonly resolvConfPath: string;
  readonly hostsPath: string;
  readonly hostnamePath: string;
}

/**
 * The mounts of a start, outermost target first: the network's files, binds (whose missing directories `-v` makes), volumes
 * (mounted here, unmounted by the reverter or at the end of the run) and tmpfs.
 */
export async function resolveMounts(
  parts: Parts,
  ctx: OpContext,
  record: InstanceRecord,
  files: NetworkFiles | undefined,
  reverter: Reverter,
): Promise<readonly ResolvedMount[]> {
  const resolved: ResolvedMount[] = [];
  for (const mount of record.spec.mounts) resolved.push(await resolveMount(parts, ctx, record.id, mount, reverter));
  const all = [...networkFileMounts(record, files), ...resolved];
  return all.sort((a, b) => depth(a.target) - depth(b.target));
}

/** The instance without what {@link resolveMounts} would make, or is seen by running processes only. */
export async function presentMounts(record: InstanceRecord): Promise<InstanceRecord> {
  const mounts: MountSpec[] = [];
  for (const mount of record.spec.mounts) {
    if (mount.type === "volume") mounts.push(mount);
    if (mount.type === "bind" && (await stat(mount.source).catch(() => undefined)) !== undefined) mounts.push(mount);
  }
  return { ...record, spec: { ...record.spec, mounts } };
}

export async function unmountVolumes(parts: Parts, ctx: OpContext, record: InstanceRecord): Promise<void> {
  for (const mount of record.spec.mounts) {
    if (mount.type === "volume") await parts.volumes.unmount(ctx, mount.name, record.id);
  }
}

function depth(target: string): number {
  return target.split("/").length;
}

/** But for those that the instance has something of its own in the place of. */
export function networkFileMounts(
  { spec }: Pick<InstanceRecord, "spec">,
  files: NetworkFiles | undefined,
): readonly ResolvedMount[] {
  if (files === undefined) return [];
  const taken = new Set(spec.mounts.map((mount) => mount.target));
  const options = ["bind", "rprivate", spec.security.readonlyRootfs ? "ro" : "rw"];
  const mounts: readonly ResolvedMount[] = [
    { type: "bind", source: files.resolvConfPath, target: "/etc/resolv.conf", options },
    { type: "bind", source: files.hostnamePath, target: "/etc/hostname", options },
    { type: "bind", source: files.hostsPath, target: "/etc/hosts", options },
  ];
  return mounts.filter(({ target }) => !taken.has(target));
}

async function resolveMount(
  parts: Parts,
  ctx: OpContext,
  id: string,
  mount: MountSpec,
  reverter: Reverter,
): Promise<ResolvedMount> {
  const access = "readOnly" in mount && mount.readOnly ? "ro" : "rw";
  switch (mount.type) {
    case "bind":
      return await resolveBind(mount, access);
    case "volume": {
      const details = { destination: mount.target, readOnly: mount.readOnly, propagation: "" };
      const source = await parts.volumes.mount(ctx, mount.name, id, details);
      reverter.add(`unmount the volume ${mount.name}`, (ctx) => parts.volumes.unmount(ctx, mount.name, id));
      return {
        type: "bind",
        source: await volumeSubpath(parts, ctx, mount.name, source, mount.subpath ?? ""),
        target: mount.target,
        options: ["rbind", access, "rprivate"],
      };
    }
    case "tmpfs":
      return { type: "tmpfs", source: "tmpfs", target: mount.target, options: mount.options };
  }
}

async function resolveBind(mount: Extract<MountSpec, { type: "bind" }>, access: string): Promise<ResolvedMount> {
  const { source, target, propagation } = mount;
  const found = await stat(source).catch(() => undefined);
  if (found === undefined) await makeBindSource(mount);
  // Below a file nothing can be mounted, and runtimes stumble over recursion there.
  const recursive = mount.nonRecursive !== true && found?.isDirectory() !== false;
  return { type: "bind", source, target, options: [recursive ? "rbind" : "bind", access, propagation] };
}

async function makeBindSource(mount: Extract<MountSpec, { type: "bind" }>): Promise<void> {
  if (!mount.createSource) throw instanceErrors.BIND_SOURCE_MISSING({ path: mount.source });
  const dangling = await lstat(mount.source).catch(() => undefined);
  if (dangling !== undefined) {
    throw invalid(`invalid mount config for type "bind": ${mount.source} is a symbolic link that leads nowhere`);
  }
  try {
    await mkdir(mount.source, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw instanceErrors.BIND_SOURCE_NOT_MADE({ path: mount.source, reason: messageOf(error) }, { cause: error });
  }
}

/** A directory inside a volume; links that another user of the volume made lead nowhere outside it. */
async function volumeSubpath(
  parts: Parts,
  ctx: OpContext,
  volume: string,
  source: string,
  subpath: string,
): Promise<string> {
  if (subpath === "") return source;
  await using root = await parts.roots.open(ctx, source);
  const found = await resolveInRoot(ctx, root, subpath);
  if (found === undefined) throw instanceErrors.MOUNT_SUBPATH_MISSING({ volume, subpath });
  return join(source, found.path);
}

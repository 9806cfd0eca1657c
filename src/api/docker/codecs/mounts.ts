/** Binds, Mounts, Tmpfs, Volumes and VolumesFrom of a create request. */
import { posix } from "node:path";
import type { CreateContainerBody, DockerMount } from "../../../schema/docker/container.ts";
import type { MountSpec } from "../../../schema/instance.ts";
import type { DockerBackend } from "../backend.ts";
import { apiErrors } from "../errors.ts";
import { volumeDriverMissing } from "./unsupported.ts";

type BindMount = Extract<MountSpec, { type: "bind" }>;
type VolumeMount = Extract<MountSpec, { type: "volume" }>;
type Propagation = BindMount["propagation"];

/**
 * All mounts of a request. A later kind replaces an earlier one on the same target, in Docker's order: VolumesFrom, then
 * Binds, Mounts and Tmpfs, which may not repeat each other; Volumes only where nothing else is.
 */
export function mountSpecs(body: CreateContainerBody, { instances }: Pick<DockerBackend, "instances">): MountSpec[] {
  const host = body.HostConfig ?? {};
  const stated = [
    ...(host.Binds ?? []).map(parseBind),
    ...(host.Mounts ?? []).map(parseMount),
    ...Object.entries(host.Tmpfs ?? {}).map(([target, options]) => tmpfs(target, options)),
  ];
  const taken = new Set(stated.map((mount) => cleanTarget(mount.target)));
  const inherited: MountSpec[] = [];
  for (const spec of host.VolumesFrom ?? []) {
    const { name, readOnly } = parseVolumesFrom(spec);
    for (const mount of instances.resolve(name).spec.mounts) {
      if (mount.type === "tmpfs" || taken.has(cleanTarget(mount.target))) continue;
      taken.add(cleanTarget(mount.target));
      inherited.push(sharedMount(mount, readOnly));
    }
  }
  const anonymous = Object.keys(body.Volumes ?? {})
    .filter((target) => !taken.has(cleanTarget(target)))
    .map((target) => volume({ name: "", target }));
  return [...stated, ...inherited, ...anonymous];
}

/** "source:target[:options]", or a lone target for an anonymous volume. */
export function parseBind(spec: string): MountSpec {
  const parts = spec.split(":");
  const [first = "", second, third] = parts;
  if (first === "" || parts.length > 3) throw invalidSpec(spec);
  if (second === undefined) return volume({ name: "", target: first });
  // "target:options" is no volume: options need a source.
  if (third === undefined && (second === "" || isMode(second))) throw invalidSpec(spec);
  const mode = parseMode(third ?? "");
  if (!first.startsWith("/")) {
    if (mode.propagation !== undefined) throw invalidMode(third ?? "");
    return volume({ name: first, target: second, readOnly: mode.readOnly, noCopy: mode.noCopy });
  }
  if (mode.noCopy) throw invalidMode(third ?? "");
  return {
    type: "bind",
    source: posix.normalize(first),
    target: second,
    readOnly: mode.readOnly,
    propagation: mode.propagation ?? "rprivate",
    createSource: true,
  };
}

interface Mode {
  readonly readOnly: boolean;
  readonly noCopy: boolean;
  readonly propagation: Propagation | undefined;
}

const modeKinds: Readonly<Record<string, "rw" | "label" | "copy" | "consistency" | "propagation">> = {
  ro: "rw",
  rw: "rw",
  z: "label",
  Z: "label",
  nocopy: "copy",
  consistent: "consistency",
  cached: "consistency",
  delegated: "consistency",
  default: "consistency",
  private: "propagation",
  rprivate: "propagation",
  shared: "propagation",
  rshared: "propagation",
  slave: "propagation",
  rslave: "propagation",
};

function isMode(text: string): boolean {
  return text.split(",").every((word) => modeKinds[word] !== undefined);
}

/** At most one word of a kind. SELinux labels and consistency change nothing here: there is no SELinux, and no remote disk. */
function parseMode(text: string): Mode {
  const words = text === "" ? [] : text.split(",");
  const kinds = words.map((word) => modeKinds[word]);
  if (kinds.includes(undefined) || new Set(kinds).size !== kinds.length) throw invalidMode(text);
  return {
    readOnly: words.includes("ro"),
    noCopy: words.includes("nocopy"),
    propagation: words.find(isPropagation),
  };
}

function isPropagation(word: string): word is Propagation {
  return modeKinds[word] === "propagation";
}

function parseMount(mount: DockerMount): MountSpec {
  refuseForeignOptions(mount);
  const target = mount.Target ?? "";
  switch (mount.Type) {
    case "bind":
      return bindMount(mount, target);
    case "volume": {
      const options = mount.VolumeOptions;
      const driver = options?.DriverConfig?.Name || "local";
      if (driver !== "local") throw volumeDriverMissing(driver);
      return {
        ...volume({
          name: mount.Source ?? "",
          target,
          readOnly: mount.ReadOnly ?? false,
          noCopy: options?.NoCopy ?? false,
        }),
        ...(options?.Subpath ? { subpath: options.Subpath } : {}),
        ...(options?.Labels ? { labels: options.Labels } : {}),
        ...(options?.DriverConfig?.Options ? { driverOptions: options.DriverConfig.Options } : {}),
      };
    }
    case "tmpfs":
      if (mount.Source) throw invalidMount(mount.Type, "field Source must not be specified");
      return { type: "tmpfs", target, options: tmpfsOptions(mount) };
    case "image":
    case "npipe":
    case "cluster":
      throw apiErrors.API_UNSUPPORTED({ what: `mount type "${mount.Type}"` });
    default:
      throw invalidMount(mount.Type, "mount type unknown");
  }
}

function bindMount(mount: DockerMount, target: string): BindMount {
  const options = mount.BindOptions;
  const propagation = options?.Propagation || "rprivate";
  if (!isPropagation(propagation)) throw invalidMount("bind", `invalid propagation mode: ${propagation}`);
  if (options?.ReadOnlyForceRecursive === true) {
    throw apiErrors.API_UNSUPPORTED({
      what: "BindOptions.ReadOnlyForceRecursive",
      hint: "only the mount itself is made read-only, not those below it",
    });
  }
  const source = mount.Source ?? "";
  return {
    type: "bind",
    source: source.startsWith("/") ? posix.normalize(source) : source,
    target,
    readOnly: mount.ReadOnly ?? false,
    propagation,
    createSource: options?.CreateMountpoint ?? false,
    ...(options?.NonRecursive === true ? { nonRecursive: true } : {}),
  };
}

function refuseForeignOptions(mount: DockerMount): void {
  const kinds = { BindOptions: "bind", VolumeOptions: "volume", TmpfsOptions: "tmpfs" } as const;
  for (const name of ["BindOptions", "VolumeOptions", "TmpfsOptions"] as const) {
    if (mount[name] && mount.Type !== kinds[name]) {
      throw invalidMount(mount.Type, `field ${name} must not be specified`);
    }
  }
}

function tmpfsOptions(mount: DockerMount): string[] {
  const options = mount.TmpfsOptions;
  const words = mount.ReadOnly === true ? ["ro"] : [];
  if (options?.Mode) words.push(`mode=${options.Mode.toString(8)}`);
  if (options?.SizeBytes) words.push(`size=${options.SizeBytes}`);
  for (const [name = "", value] of options?.Options ?? []) words.push(value === undefined ? name : `${name}=${value}`);
  return words;
}

function tmpfs(target: string, options: string): MountSpec {
  return { type: "tmpfs", target, options: options === "" ? [] : options.split(",") };
}

function volume(of: { name: string; target: string; readOnly?: boolean; noCopy?: boolean }): VolumeMount {
  return {
    type: "volume",
    name: of.name,
    target: of.target,
    readOnly: of.readOnly ?? false,
    noCopy: of.noCopy ?? false,
    anonymous: of.name === "",
  };
}

function parseVolumesFrom(spec: string): { readonly name: string; readonly readOnly: boolean } {
  const [name = "", mode = "rw"] = spec.split(":", 2);
  if (name === "") {
    throw apiErrors.API_BAD_REQUEST({ message: "volumes-from specification cannot be an empty string" });
  }
  const { readOnly, noCopy, propagation } = parseMode(mode);
  if (noCopy || propagation !== undefined) throw invalidMode(mode);
  return { name, readOnly };
}

/** Another container's mount: its volume is no longer this one's to remove, nor to fill. */
function sharedMount(mount: BindMount | VolumeMount, readOnly: boolean): MountSpec {
  const both = mount.readOnly || readOnly;
  return mount.type === "bind"
    ? { ...mount, readOnly: both }
    : { ...mount, readOnly: both, anonymous: false, noCopy: true };
}

const cleanTarget = (target: string) => posix.normalize(target).replace(/(.)\/$/, "$1");

function invalidSpec(spec: string) {
  return apiErrors.API_BAD_REQUEST({ message: `invalid volume specification: '${spec}'` });
}

function invalidMode(mode: string) {
  return apiErrors.API_BAD_REQUEST({ message: `invalid mode: ${mode}` });
}

function invalidMount(type: string, reason: string) {
  return apiErrors.API_BAD_REQUEST({ message: `invalid mount config for type "${type}": ${reason}` });
}

/** Options of the "local" driver: `type`, `device` and `o`, as mount(8) takes them. Pure. */
import type { MountFlag, MountOp } from "../host/kernel-ops.ts";
import type { VolumeRecord } from "../schema/volume.ts";
import { volumeErrors } from "./errors.ts";

type Options = Readonly<Record<string, string>>;

const known = ["type", "device", "o"];

/** `VOLUME_OPTION_INVALID`, for all that would fail, or be ignored, at the first use. */
export function checkLocalOptions(name: string, options: Options): void {
  const invalid = (reason: string) => volumeErrors.VOLUME_OPTION_INVALID({ name, reason });
  if ("size" in options) throw invalid("quota size requested but no quota support");
  const unknown = Object.keys(options).find((option) => !known.includes(option));
  if (unknown !== undefined) throw invalid(`invalid option: "${unknown}"`);
  if (Object.keys(options).length === 0) return;
  const missing = ["device", "type"].find((option) => (options[option] ?? "") === "");
  if (missing !== undefined) throw invalid(`missing required option: "${missing}"`);
  const plan = parseMountWords(options["o"] ?? "");
  if (plan.unsupported.length > 0) throw invalid(`mount option not supported: ${plan.unsupported.join(", ")}`);
  if (plan.flags.includes("bind") && !(options["device"] ?? "").startsWith("/")) {
    throw invalid(`a bind mount needs an absolute path as device, not "${options["device"]}"`);
  }
}

/** Whether the volume is something that has to be mounted, not just a directory of ours. */
export function hasDevice(volume: VolumeRecord): boolean {
  return Object.keys(volume.options).length > 0;
}

/** How the volume's own file system is mounted on its directory. */
export function deviceMount(volume: VolumeRecord): MountOp {
  const { type = "", device = "", o = "" } = volume.options;
  const { flags, data } = parseMountWords(o);
  const bind = flags.includes("bind");
  return {
    op: "mount",
    source: device,
    target: volume.mountpoint,
    ...(bind ? {} : { fstype: type }),
    flags,
    // A bind mount has no file system's options of its own.
    ...(bind || data === "" ? {} : { data }),
  };
}

const flagWords: Readonly<Record<string, readonly MountFlag[]>> = {
  ro: ["ro"],
  nosuid: ["nosuid"],
  nodev: ["nodev"],
  noexec: ["noexec"],
  bind: ["bind"],
  rbind: ["bind", "rec"],
  private: ["private"],
  rprivate: ["rprivate"],
  slave: ["slave"],
  rslave: ["rslave"],
  shared: ["shared"],
  rshared: ["rshared"],
  rw: [],
  suid: [],
  dev: [],
  exec: [],
  defaults: [],
};

/** Flags of mount(2) that Berth can't set; as data, a file system would refuse them with an error that names nothing. */
const unsupportedWords = new Set([
  "remount",
  "noatime",
  "nodiratime",
  "relatime",
  "strictatime",
  "lazytime",
  "sync",
  "dirsync",
  "mand",
  "move",
]);

function parseMountWords(text: string): {
  readonly flags: readonly MountFlag[];
  readonly data: string;
  readonly unsupported: readonly string[];
} {
  const words = text.split(",").filter((word) => word !== "");
  return {
    flags: words.flatMap((word) => flagWords[word] ?? []),
    data: words.filter((word) => !(word in flagWords) && !unsupportedWords.has(word)).join(","),
    unsupported: words.filter((word) => unsupportedWords.has(word)),
  };
}

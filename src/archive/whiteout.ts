/** Whiteouts: in OCI layers marker files (image-spec layer.md), in overlayfs device nodes 0:0 and an attribute. */
import { archiveErrors } from "./errors.ts";
import { fromBinary } from "./tar-entry.ts";
import type { TreeStat } from "./tree-files.ts";

const PREFIX = ".wh.";
const META_PREFIX = ".wh..wh.";
/** Marker file that makes its directory opaque. */
export const OPAQUE_MARKER = ".wh..wh..opq";

/** Attribute that makes a directory of an upper layer hide what lies below. */
export const OPAQUE_XATTR = "trusted.overlay.opaque";
export const OPAQUE_VALUE: Uint8Array = Buffer.from("y");

export type Whiteout =
  | { readonly kind: "opaque" }
  /** Hides the lower layers' `name`. */
  | { readonly kind: "remove"; readonly name: string }
  /** Bookkeeping of AUFS, meaningless here. */
  | { readonly kind: "ignore" };

/** What the base name of a layer's entry asks for; undefined for an ordinary entry. */
export function parseWhiteout(entry: string, baseName: string): Whiteout | undefined {
  if (!baseName.startsWith(PREFIX)) return undefined;
  if (baseName === OPAQUE_MARKER) return { kind: "opaque" };
  if (baseName.startsWith(META_PREFIX)) return { kind: "ignore" };
  const name = baseName.slice(PREFIX.length);
  if (name === "" || name === "." || name === "..") {
    throw archiveErrors.ARCHIVE_ENTRY_REFUSED({ entry: fromBinary(entry), reason: "it whites out no file's name" });
  }
  return { kind: "remove", name };
}

export function whiteoutName(name: string): string {
  return `${PREFIX}${name}`;
}

/** Whether this is overlayfs' own mark of a removed file. */
export function isOverlayWhiteout(stat: TreeStat): boolean {
  return stat.kind === "char" && stat.deviceMajor === 0 && stat.deviceMinor === 0;
}

export function isOpaque(xattrs: ReadonlyMap<string, Uint8Array>): boolean {
  return xattrs.get(OPAQUE_XATTR)?.[0] === OPAQUE_VALUE[0];
}

export function isOverlayXattr(name: string): boolean {
  return name.startsWith("trusted.overlay.");
}

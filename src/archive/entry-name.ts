import { archiveErrors } from "./errors.ts";
import { components } from "./path-walker.ts";
import { fromBinary } from "./tar-entry.ts";

/** PATH_MAX less the terminator. */
const MAX_PATH_BYTES = 4095;

/**
 * A member's name as a relative path without "." and empty components; "" is the top directory. An absolute name begins
 * there as well, as for tar and Docker (Compose sends secrets that way); `..` and names beyond PATH_MAX are refused.
 */
export function cleanEntryName(name: string): string {
  const parts = components(name);
  if (parts.length === 0) return "";
  if (parts.includes("..")) throw refused(name, 'its name holds ".."');
  if (name.length > MAX_PATH_BYTES) throw refused(`${name.slice(0, 64)}…`, `its name has ${name.length} bytes`);
  return parts.join("/");
}

/** The same for the target of a hard link, which is another member's name. */
export function cleanHardLinkTarget(entry: string, target: string): string {
  const parts = components(target);
  if (parts.includes("..") || parts.length === 0 || target.length > MAX_PATH_BYTES) {
    throw refused(entry, `its hard-link target "${fromBinary(target)}" is not inside the archive`);
  }
  return parts.join("/");
}

function refused(entry: string, reason: string): Error {
  return archiveErrors.ARCHIVE_ENTRY_REFUSED({ entry: fromBinary(entry), reason });
}

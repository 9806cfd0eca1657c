/** Names of volumes, by Docker's rules. Pure. */
import { newId } from "../base/ids.ts";
import { volumeErrors } from "./errors.ts";

/** `VOLUME_NAME_INVALID`. */
export function checkVolumeName(name: string): void {
  if (/^[a-zA-Z0-9]$/.test(name)) throw volumeErrors.VOLUME_NAME_INVALID({ name, reason: "short" });
  // A file name holds 255 bytes at most.
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/.test(name)) {
    throw volumeErrors.VOLUME_NAME_INVALID({ name, reason: "characters" });
  }
}

/** 64 hexadecimal digits, as Docker gives to a volume without a name. */
export function anonymousName(): string {
  return newId();
}

import { existsSync } from "node:fs";

/** OVMF's files, which QEMU's command line and a new machine's variables are made of. Both without Secure Boot. */
export interface UefiFiles {
  readonly code: string;
  readonly variables: string;
}

/** Where distributions have them, in the order of preference; a jail has the host's /usr. */
const places: readonly UefiFiles[] = [
  { code: "/usr/share/OVMF/OVMF_CODE_4M.fd", variables: "/usr/share/OVMF/OVMF_VARS_4M.fd" },
  { code: "/usr/share/OVMF/OVMF_CODE.fd", variables: "/usr/share/OVMF/OVMF_VARS.fd" },
  { code: "/usr/share/edk2/ovmf/OVMF_CODE.fd", variables: "/usr/share/edk2/ovmf/OVMF_VARS.fd" },
  { code: "/usr/share/edk2/x64/OVMF_CODE.4m.fd", variables: "/usr/share/edk2/x64/OVMF_VARS.4m.fd" },
];

export function hasUefi(): boolean {
  return places.some(isThere);
}

/** The first that are installed. */
export function uefiFiles(): UefiFiles {
  const found = places.find(isThere);
  if (found === undefined) throw new Error("OVMF is not installed"); // Refused when the machine was made.
  return found;
}

function isThere({ code, variables }: UefiFiles): boolean {
  return existsSync(code) && existsSync(variables);
}

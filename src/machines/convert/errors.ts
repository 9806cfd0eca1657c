import { defineErrors } from "../../base/errors.ts";

/** What a conversion is refused for. */
export const convertErrors = defineErrors({
  CONVERT_SOURCE_UNKNOWN: {
    status: 404,
    message: (p: { readonly source: string }) => `there is no container and no image ${p.source} here`,
    hint: (p) => `pull it first: berth pull ${p.source}`,
  },
  CONVERT_ALREADY_MACHINE: {
    status: 400,
    message: (p: { readonly source: string }) => `${p.source} is a machine already`,
    hint: (p) =>
      `copy it: berth machine clone ${p.source} NAME; or make an image of it: berth convert ${p.source} --to image NAME`,
  },
  CONVERT_SOURCE_UNCLEAR: {
    status: 400,
    message: () => "an image is made of one of a machine and a disk's file",
  },
  CONVERT_NO_DISK: {
    status: 400,
    message: (p: { readonly machine: string; readonly disk: string }) =>
      p.disk === "" ? `the machine ${p.machine} has no disk` : `the machine ${p.machine} has no disk ${p.disk}`,
    hint: (p) => `berth machine inspect ${p.machine} lists its disks`,
  },
});

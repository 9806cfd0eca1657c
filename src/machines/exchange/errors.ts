import { defineErrors } from "../../base/errors.ts";

export const exchangeErrors = defineErrors({
  EXPORT_FORMAT_UNKNOWN: {
    status: 400,
    message: (p: { readonly format: string }) => `a machine can't be exported as ${JSON.stringify(p.format)}`,
    hint: () => "ova for the whole machine; qcow2, raw, vmdk, vdi, vhdx or vpc for one of its disks",
  },
  EXPORT_WHILE_RUNNING: {
    status: 409,
    message: (p: { readonly name: string }) => `the machine ${p.name} runs: what is on its disks changes`,
    hint: (p) => `berth machine stop ${p.name}`,
  },
  EXPORT_NO_DISK: {
    status: 404,
    message: (p: { readonly name: string; readonly disk: string }) =>
      p.disk === "" ? `the machine ${p.name} has no disk` : `the machine ${p.name} has no disk ${p.disk}`,
    hint: () => "berth machine inspect shows its disks",
  },
  IMPORT_NAME_MISSING: {
    status: 400,
    message: (p: { readonly found: string }) =>
      p.found === ""
        ? "the machine needs a name"
        : `${JSON.stringify(p.found)}, as the description has it, can't be a machine's name`,
    hint: () => "give one with --name",
  },
  IMPORT_TOO_MUCH_HARDWARE: {
    status: 400,
    message: (p: { readonly what: string }) => `the machine asks for ${p.what}`,
  },
});

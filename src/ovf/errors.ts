import { sizeText } from "../base/byte-size.ts";
import { defineErrors } from "../base/errors.ts";

/** What can be wrong with a machine in the Open Virtualization Format. */
export const ovfErrors = defineErrors({
  OVF_INVALID: {
    status: 400,
    message: (p: { reason: string }) => `the OVF description can't be used: ${p.reason}`,
  },
  OVF_UNSUPPORTED: {
    status: 400,
    message: (p: { reason: string }) => `the OVF description asks for what is not supported: ${p.reason}`,
  },
  OVA_ENTRY_REFUSED: {
    status: 400,
    message: (p: { entry: string; reason: string }) =>
      `the OVA archive is refused at ${JSON.stringify(p.entry)}: ${p.reason}`,
    hint: () =>
      "an OVA holds one description, its manifest and the files that the description names, and no directories",
  },
  OVA_FILE_MISSING: {
    status: 400,
    message: (p: { file: string }) =>
      `the OVA archive has no file ${JSON.stringify(p.file)}, which its description names`,
  },
  OVA_DIGEST_MISMATCH: {
    status: 400,
    message: (p: { file: string; algorithm: string }) =>
      `the file ${JSON.stringify(p.file)} is not what the OVA's manifest says: its ${p.algorithm} is another`,
    hint: () => "the archive was damaged or changed; copy it anew",
  },
  OVA_TOO_LARGE: {
    status: 400,
    message: (p: { bytes: number; max: number }) =>
      `the OVA archive has more than ${sizeText(p.max)} (${sizeText(p.bytes)} so far)`,
  },
});

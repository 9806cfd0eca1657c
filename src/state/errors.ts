import { defineErrors } from "../base/errors.ts";

export const stateErrors = defineErrors({
  STATE_UNREADABLE: {
    status: 500,
    message: ({ path, reason }: { path: string; reason: string }) =>
      `cannot open the engine's records in ${path}: ${reason}`,
    hint: ({ path }) =>
      `check that ${path} is writable and its disk not full; a damaged file can be restored from a copy`,
  },
  STATE_TOO_NEW: {
    status: 500,
    message: ({ path, found, known }: { path: string; found: number; known: number }) =>
      `the records in ${path} are of version ${found}; this Berth knows versions up to ${known}`,
    hint: () => "start the newer Berth that wrote them, or another data root",
  },
  STATE_DISK_FULL: {
    status: 507,
    message: ({ path }: { path: string }) => `no space left on the device of ${path}: nothing was changed`,
    hint: () => "free some space there; containers run on meanwhile",
  },
  RECORD_INVALID: {
    status: 500,
    message: ({ collection, id, reason }: { collection: string; id: string; reason: string }) =>
      `the record ${id} of ${collection} does not fit its schema: ${reason}`,
    hint: () => "the file was changed by hand or by an incompatible version; restore it from a copy",
  },
});

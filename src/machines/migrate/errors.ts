import { defineErrors } from "../../base/errors.ts";

/** What a move to another engine is refused for, or fails for. */
export const migrateErrors = defineErrors({
  MIGRATION_REFUSED: {
    status: 409,
    message: (p: { readonly machine: string; readonly reason: string }) =>
      `${p.machine} can't be moved while it runs: ${p.reason}`,
    hint: (p) => `export it while it is off: berth machine export ${p.machine} FILE.ova`,
  },
  MIGRATION_HAS_SNAPSHOTS: {
    status: 409,
    message: (p: { readonly machine: string; readonly snapshots: readonly string[] }) =>
      `${p.machine} can't be moved while it runs: it has snapshots, which would stay behind: ${p.snapshots.join(", ")}`,
    hint: (p) => `remove them first: berth machine snapshot rm ${p.machine} ${p.snapshots.join(" ")}`,
  },
  MIGRATION_UNLIKE: {
    status: 409,
    message: (p: { readonly machine: string; readonly differences: readonly string[] }) =>
      `the engine can't take ${p.machine} while it runs: ${p.differences.join("; ")}`,
    hint: () => "QEMU, its acceleration and the machine's devices have to be the same on both sides",
  },
  MIGRATION_NOT_FOUND: {
    status: 404,
    message: (p: { readonly id: string }) => `no machine is on its way here as ${p.id}`,
  },
  MIGRATION_BROKEN_OFF: {
    status: 409,
    message: (p: { readonly machine: string; readonly reason: string }) =>
      `the move of ${p.machine} was broken off: ${p.reason}`,
  },
  MIGRATION_UNCERTAIN: {
    status: 502,
    message: (p: { readonly machine: string; readonly to: string; readonly reason: string }) =>
      `whether ${p.machine} runs on the engine at ${p.to} is not known, so that it stands still here: ${p.reason}`,
    hint: () => "it is looked at again when this engine is started; the other one has to be reachable then",
  },
});

import { defineErrors } from "../base/errors.ts";

/** What every driver raises, in Docker's words where the docker client's users match on them. */
export const driverErrors = defineErrors({
  /** The command is not in the root file system: exit code 127. `reason` is the runtime's text, naming the command. */
  COMMAND_NOT_FOUND: {
    status: 400,
    message: cannotStart,
    hint: (p: CommandFailure) => `check that the image holds ${p.command}, or give another command`,
  },
  /** The command is there but can't be run: exit code 126. */
  COMMAND_NOT_EXECUTABLE: {
    status: 400,
    message: cannotStart,
    hint: (p: CommandFailure) => `make ${p.command} an executable file for this machine's architecture`,
  },
  RUNTIME_FAILED: {
    status: 500,
    message: (p: { readonly id: string; readonly step: string; readonly reason: string }) =>
      `failed to ${p.step} task for container ${p.id.slice(0, 12)}: ${p.reason}`,
  },
  TASK_NOT_RUNNING: {
    status: 409,
    message: (p: { readonly id: string }) => `container ${p.id} is not running`,
  },
  TASK_PAUSED: {
    status: 409,
    message: (p: { readonly id: string }) => `Container ${p.id} is paused, unpause the container before exec`,
    hint: () => "unpause it first",
  },
  TASK_HAS_NO_TTY: {
    status: 409,
    message: (p: { readonly id: string }) => `cannot resize ${p.id}: it has no terminal`,
  },
  HANDLE_UNKNOWN: {
    status: 500,
    message: (p: { readonly driver: string; readonly reason: string }) =>
      `the stored handle is not one of the ${p.driver} driver: ${p.reason}`,
    hint: () => "the state was written by another version; remove the container and create it again",
  },
});

interface CommandFailure {
  readonly step: "create" | "exec";
  readonly command: string;
  readonly reason: string;
}

function cannotStart(failure: CommandFailure): string {
  return failure.step === "create"
    ? `failed to create task for container: OCI runtime create failed: ${failure.reason}`
    : `OCI runtime exec failed: exec failed: ${failure.reason}`;
}

import type { BerthError } from "../../base/errors.ts";
import { driverErrors } from "../driver-errors.ts";
import type { AgentError } from "./agent-channel.ts";
import { machineErrors } from "./errors.ts";

/**
 * A command that is not there or no program, in the words of an OCI runtime, of which the docker client makes the exit codes 127 and 126;
 * a user that is not there. Undefined for another failure.
 */
export function commandFailure(step: "create" | "exec", command: string, error: AgentError): BerthError | undefined {
  const failure = { step, command, reason: `exec: "${command}": ${reasonOf(command, error)}` };
  switch (error.kind) {
    case "not-found":
      return driverErrors.COMMAND_NOT_FOUND(failure, { cause: error });
    case "not-executable":
      return driverErrors.COMMAND_NOT_EXECUTABLE(failure, { cause: error });
    case "no-directory":
      return directoryFailure(step, command, error);
    case "no-user":
      return machineErrors.GUEST_USER_UNKNOWN({ reason: error.message }, { cause: error });
    default:
      return undefined;
  }
}

/** Its working directory, in a runtime's words. */
function directoryFailure(step: "create" | "exec", command: string, error: AgentError): BerthError {
  const [, cwd = "", cause = ""] = /working directory (.*): (.*)$/s.exec(error.message) ?? [];
  const reason = `unable to start container process: chdir to cwd ("${cwd}") set in config.json failed: ${cause.toLowerCase()}`;
  return cause === "Permission denied"
    ? driverErrors.COMMAND_NOT_EXECUTABLE({ step, command, reason }, { cause: error })
    : driverErrors.COMMAND_NOT_FOUND({ step, command, reason }, { cause: error });
}

function reasonOf(command: string, { kind, message }: AgentError): string {
  if (kind === "not-found") {
    return command.includes("/") ? `stat ${command}: no such file or directory` : "executable file not found in $PATH";
  }
  return /Permission denied/.test(message) ? "permission denied" : message;
}

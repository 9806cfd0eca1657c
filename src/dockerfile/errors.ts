import { defineErrors, isBerthError } from "../base/errors.ts";
import type { SourcePosition } from "./instruction.ts";

export const dockerfileErrors = defineErrors({
  /** What is wrong, before it is known where; {@link locate} turns it into `DOCKERFILE_INVALID`. */
  DOCKERFILE_SYNTAX: { status: 400, message: ({ reason }: { reason: string }) => reason },
  /** Docker's wording, "dockerfile parse error on line N: reason", with the file in front. */
  DOCKERFILE_INVALID: {
    status: 400,
    message: ({ file, line, reason }: { file: string; line: number; reason: string }) =>
      `failed to parse ${file}: dockerfile parse error on line ${line}: ${reason}`,
  },
  DOCKERFILE_EMPTY: {
    status: 400,
    message: ({ file }: { file: string }) => `the Dockerfile (${file}) cannot be empty`,
    hint: () => "start it with FROM <image>",
  },
  DOCKERFILE_CHANGE_INVALID: {
    status: 400,
    message: ({ change, reason }: { change: string; reason: string }) => `invalid change "${change}": ${reason}`,
    hint: () =>
      "a change is one of CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR",
  },
  DOCKERIGNORE_INVALID: {
    status: 400,
    message: ({ pattern, reason }: { pattern: string; reason: string }) =>
      `invalid pattern "${pattern}" in .dockerignore: ${reason}`,
  },
});

/** Raises `DOCKERFILE_SYNTAX`: for code that doesn't know the line. */
export function syntaxError(reason: string): never {
  throw dockerfileErrors.DOCKERFILE_SYNTAX({ reason });
}

/** Runs `work` and names the file and the line in the syntax errors it raises. */
export function locate<T>(position: SourcePosition, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!isBerthError(error, "DOCKERFILE_SYNTAX")) throw error;
    throw dockerfileErrors.DOCKERFILE_INVALID(
      { file: position.file, line: position.line, reason: error.message },
      { cause: error },
    );
  }
}

import { BerthError, defineErrors } from "../base/errors.ts";

export const buildErrors = defineErrors({
  DOCKERFILE_NOT_FOUND: {
    // Docker's text; its 500 would blame the engine.
    status: 400,
    message: ({ path }: { path: string }) => `Cannot locate specified Dockerfile: ${path}`,
    hint: () => "name the file with -f, relative to the build context; check .dockerignore",
  },
  BUILD_TARGET_NOT_FOUND: {
    status: 400,
    message: ({ target }: { target: string }) => `target stage ${JSON.stringify(target)} could not be found`,
    hint: () => "name a stage with FROM … AS <name>",
  },
  BUILD_STAGE_REFERENCE_INVALID: {
    status: 400,
    message: ({ from, reason }: { from: string; reason: string }) => `invalid from flag value ${from}: ${reason}`,
  },
  BUILD_STAGE_CYCLE: {
    status: 400,
    message: ({ stage }: { stage: string }) => `build stage ${stage} depends on itself`,
  },
  BUILD_BASE_BLANK: {
    status: 400,
    message: ({ base }: { base: string }) => `base name (${base}) should not be blank`,
    hint: () => "give the ARG before FROM a default, or pass it with --build-arg",
  },
  BUILD_NO_IMAGE: { status: 400, message: () => "No image was generated. Is your Dockerfile empty?" },
  BUILD_NEEDS_BUILDKIT: {
    status: 400,
    message: ({ what }: { what: string }) => `${what} requires BuildKit, which this builder does not have yet`,
  },
  BUILD_OPTION_UNSUPPORTED: {
    status: 400,
    message: ({ option, reason }: { option: string; reason: string }) =>
      `the build option ${option} is not supported: ${reason}`,
  },
  BUILD_CONTEXT_INVALID: {
    status: 400,
    message: ({ reason }: { reason: string }) => `cannot read the build context: ${reason}`,
  },
  BUILD_CONTEXT_MISSING: {
    status: 400,
    message: ({ kind }: { kind: string }) => `${kind} failed: there is no build context`,
    hint: () => "build from a directory, a tar or a repository when files are to be copied",
  },
  BUILD_DOWNLOAD_FAILED: {
    status: 502,
    message: ({ url, reason }: { url: string; reason: string }) => `cannot download ${url}: ${reason}`,
  },
  BUILD_CHECKSUM_MISMATCH: {
    status: 400,
    message: ({ url, expected, actual }: { url: string; expected: string; actual: string }) =>
      `digest mismatch for ${url}: expected ${expected}, got ${actual}`,
  },
  BUILD_GIT_FAILED: {
    status: 400,
    message: ({ url, reason }: { url: string; reason: string }) => `cannot fetch the repository ${url}: ${reason}`,
    hint: () => "check the address; git must be installed on the engine's host",
  },
  /** `COPY failed: …` and `ADD failed: …`, as Docker words them. */
  BUILD_COPY_FAILED: {
    status: 400,
    message: ({ kind, reason }: { kind: string; reason: string }) => `${kind} failed: ${reason}`,
  },
  BUILD_CHOWN_INVALID: {
    status: 400,
    message: ({ reason }: { reason: string }) => `unable to convert uid/gid chown string to host mapping: ${reason}`,
  },
  BUILD_RUN_FAILED: {
    status: 500,
    message: ({ command, reason }: { command: string; reason: string }) => `cannot run '${command}': ${reason}`,
  },
  BUILD_CANCELLED: { status: 499, message: () => "Build cancelled" },
});

/** A RUN step ended with another code than 0; `docker build` exits with that code. */
export class BuildCommandError extends BerthError {
  readonly command: string;
  readonly exitCode: number;

  constructor(command: string, exitCode: number) {
    super(
      "BUILD_COMMAND_FAILED",
      400,
      `The command '${command}' returned a non-zero code: ${exitCode}`,
      "the lines above are the command's output",
    );
    this.command = command;
    this.exitCode = exitCode;
  }
}

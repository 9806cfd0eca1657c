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
  /** A mount of RUN that can't be had; BuildKit's words where it has any. */
  BUILD_MOUNT_INVALID: {
    status: 400,
    message: ({ reason }: { reason: string }) => reason,
  },
  BUILD_MOUNT_SOURCE_MISSING: {
    status: 400,
    message: ({ target, source }: { target: string; source: string }) =>
      `cannot mount ${target}: "${source}": not found`,
    hint: () =>
      "the source is a path in the build context, or in the stage or image that from= names; check .dockerignore",
  },
  BUILD_NEEDS_SESSION: {
    status: 400,
    message: ({ type }: { type: string }) =>
      `RUN --mount=type=${type} needs docker buildx: the classic builder has no session with its client`,
    hint: ({ type }: { type: string }) => `build with docker buildx (DOCKER_BUILDKIT=1) and --${type}`,
  },
  BUILD_SECRET_MISSING: {
    status: 400,
    message: ({ id }: { id: string }) => `secret ${id}: not found`,
    hint: ({ id }: { id: string }) => `give it with --secret id=${id},src=FILE or --secret id=${id},env=NAME`,
  },
  BUILD_SSH_MISSING: {
    status: 400,
    message: ({ id }: { id: string }) => `no SSH key ${JSON.stringify(id)} forwarded from the client`,
    hint: ({ id }: { id: string }) => `forward an agent with --ssh ${id}`,
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

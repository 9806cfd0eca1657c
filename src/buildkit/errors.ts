import { defineErrors } from "../base/errors.ts";

export const buildKitErrors = defineErrors({
  BUILDKIT_MESSAGE_INVALID: {
    status: 400,
    message: ({ reason }: { reason: string }) => `the client sent a message that can't be read: ${reason}`,
  },
  BUILDKIT_MESSAGE_TOO_LARGE: {
    status: 413,
    message: ({ size, limit }: { size: number; limit: number }) =>
      `the client sent a message of ${size} bytes; at most ${limit} are taken`,
  },
  BUILDKIT_METHOD_UNKNOWN: {
    status: 501,
    message: ({ method }: { method: string }) =>
      `unknown method ${method}: this engine does not have that part of BuildKit`,
  },
  BUILDKIT_UNSUPPORTED: {
    status: 501,
    message: ({ what }: { what: string }) => `${what} is not supported by this engine's builder`,
  },
  BUILDKIT_OPTION_INVALID: {
    status: 400,
    message: ({ option, value }: { option: string; value: string }) =>
      `invalid value ${JSON.stringify(value)} for ${option}`,
  },
  BUILDKIT_UPLOAD_MISSED: {
    status: 408,
    message: ({ reason }: { reason: string }) =>
      `the build context was to be uploaded by a request of its own: ${reason}`,
  },
  BUILDKIT_BUILD_NOT_FOUND: {
    status: 404,
    message: ({ ref }: { ref: string }) => `no build ${JSON.stringify(ref)} is under way`,
  },
  BUILDKIT_BUILD_EXISTS: {
    status: 409,
    message: ({ ref }: { ref: string }) => `a build ${JSON.stringify(ref)} is under way already`,
  },
  BUILDKIT_SESSION_NOT_FOUND: {
    status: 404,
    message: ({ id }: { id: string }) => `no active session for ${id}`,
    hint: () => "the client's connection for files and secrets was closed",
  },
  BUILDKIT_SESSION_EXISTS: {
    status: 409,
    message: ({ id }: { id: string }) => `session ${id} already exists`,
  },
  BUILDKIT_SESSIONS_TOO_MANY: {
    status: 503,
    message: ({ limit }: { limit: number }) => `${limit} sessions are open already`,
  },
  BUILDKIT_CLIENT_FAILED: {
    status: 400,
    message: ({ method, reason }: { method: string; reason: string }) => `${reason} (the client's answer to ${method})`,
  },
  BUILDKIT_TRANSFER_INVALID: {
    status: 400,
    message: ({ reason }: { reason: string }) => `the client's files can't be taken: ${reason}`,
  },
  BUILDKIT_SEND_FAILED: {
    status: 400,
    message: ({ reason }: { reason: string }) => `the result can't be sent to the client: ${reason}`,
  },
  BUILDKIT_PUSH_NAMELESS: { status: 400, message: () => "tag is needed when pushing to registry" },
  BUILDKIT_DOCKERFILE_NOT_FOUND: {
    status: 404,
    message: ({ path }: { path: string }) => `failed to read dockerfile: open ${path}: no such file or directory`,
    hint: () => "name the file with -f",
  },
});

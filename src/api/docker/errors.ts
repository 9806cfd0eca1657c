import { defineErrors, isBerthError, messageOf } from "../../base/errors.ts";

/** An error as a client gets it: Docker's `message`, and where it is one of ours its code and hint, which Docker's clients pass over. */
export function errorFields(error: unknown): {
  readonly message: string;
  readonly code?: string;
  readonly hint?: string;
} {
  const message = messageOf(error);
  if (!isBerthError(error)) return { message };
  return { message, code: error.code, ...(error.hint === undefined ? {} : { hint: error.hint }) };
}

/** Errors of the transport itself, in Docker's words where Docker has some. */
export const apiErrors = defineErrors({
  API_CLIENT_TOO_OLD: {
    status: 400,
    message: (p: { version: string; minimum: string }) =>
      `client version ${p.version} is too old. Minimum supported API version is ${p.minimum}, please upgrade your client to a newer version`,
  },
  API_CLIENT_TOO_NEW: {
    status: 400,
    message: (p: { version: string; maximum: string }) =>
      `client version ${p.version} is too new. Maximum supported API version is ${p.maximum}`,
  },
  /** Wherever the disk was full that no room has an error of its own for. */
  API_DISK_FULL: {
    status: 507,
    message: (p: { reason: string }) => p.reason,
    hint: () => "free some space, e.g. by removing unused images, and try again; containers run on meanwhile",
  },
  API_PAGE_NOT_FOUND: { status: 404, message: () => "page not found" },
  API_INVALID_PARAMETER: {
    status: 400,
    message: (p: { name: string; value: string; reason: string }) =>
      `invalid value ${JSON.stringify(p.value)} for ${p.name}: ${p.reason}`,
  },
  API_INVALID_FILTER: {
    status: 400,
    message: (p: { name: string }) => `invalid filter '${p.name}'`,
  },
  API_INVALID_FILTER_VALUE: {
    status: 400,
    message: (p: { name: string; value: string }) => `invalid filter '${p.name}=${p.value}'`,
  },
  API_CONTENT_TYPE: {
    status: 400,
    message: (p: { type: string }) => `unsupported Content-Type header (${p.type}): must be 'application/json'`,
  },
  API_INVALID_JSON: { status: 400, message: (p: { reason: string }) => `invalid JSON: ${p.reason}` },
  API_INVALID_BODY: {
    status: 400,
    message: (p: { field: string; reason: string }) => `invalid request: ${p.field} ${p.reason}`,
  },
  API_BODY_TOO_LARGE: {
    status: 413,
    message: (p: { limit: number }) => `request body is larger than ${p.limit} bytes`,
  },
  /** A request that contradicts itself or names something impossible; the text is Docker's. */
  API_BAD_REQUEST: { status: 400, message: (p: { message: string }) => p.message },
  /** `docker rm --link` of a container itself. */
  API_LINK_NAME: {
    status: 500,
    message: () => "Conflict, cannot remove the default link name of the container",
    hint: () => "name the link: CONTAINER/ALIAS, where CONTAINER is the one that was created with --link OTHER:ALIAS",
  },
  API_NOT_FOUND: { status: 404, message: (p: { message: string }) => p.message },
  API_CONFLICT: { status: 409, message: (p: { message: string }) => p.message },
  /** Docker knows it, Berth does not (yet). */
  API_UNSUPPORTED: {
    status: 501,
    message: (p: { what: string; hint?: string }) =>
      `${p.what} is not supported by Berth${p.hint === undefined ? "" : `: ${p.hint}`}`,
  },
  API_SWARM_INACTIVE: {
    status: 503,
    message: () =>
      'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
  },
  API_SWARM_UNSUPPORTED: {
    status: 501,
    message: () => "Swarm mode is not supported by Berth: an engine runs on one machine and joins no cluster",
    hint: () => "bring services up with 'docker compose up', which needs no swarm, on an engine for each machine",
  },
  API_PLUGINS_UNSUPPORTED: {
    status: 501,
    message: () =>
      "Docker's plugins are not supported by Berth: networks, volumes and logs have the engine's own drivers only",
    hint: () => "leave the driver out, or name one that 'docker info' lists under Plugins",
  },
  API_SWARM_NONE: { status: 503, message: () => "This node is not part of a swarm" },
  API_TLS_REQUIRED: {
    status: 500,
    message: (p: { host: string }) => `refusing to serve ${p.host} without mutual TLS`,
    hint: () => "give --tls-verify with --tls-ca-cert, --tls-cert and --tls-key, or serve a unix socket only",
  },
  API_HOST_INVALID: {
    status: 500,
    message: (p: { host: string; reason: string }) => `cannot serve the API on ${p.host}: ${p.reason}`,
  },
});

import { BerthError } from "../../base/errors.ts";
import { imageErrors } from "../errors.ts";
import { TransientFailure } from "./retry.ts";

/** Errors of Node's sockets that another try may mend. */
const TRANSIENT: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "the connection was cut",
  EPIPE: "the connection was cut",
  ETIMEDOUT: "timed out",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "network is unreachable",
  EAI_AGAIN: "its name can't be resolved at the moment",
  ERR_STREAM_PREMATURE_CLOSE: "the connection was cut",
};

const CERTIFICATE = /^(?:CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_CERT|HOSTNAME_MISMATCH)/;

/** Turns what the transport throws into what {@link withRetries} understands, or into the user's error. */
export function networkFailure(error: unknown, host: string, signal: AbortSignal): unknown {
  // A body that is read when the signal comes says only that it was aborted.
  if (signal.aborted) return signal.reason;
  if (error instanceof BerthError || error instanceof TransientFailure) return error;
  const code = codeOf(error);
  const reason = TRANSIENT[code];
  if (reason !== undefined) {
    const detail = code === "ETIMEDOUT" && error instanceof Error && error.message !== "" ? error.message : reason;
    return new TransientFailure(
      (attempts) => imageErrors.REGISTRY_UNREACHABLE({ host, reason: detail, attempts }, { cause: error }),
      error,
    );
  }
  if (code === "ENOTFOUND") {
    return imageErrors.REGISTRY_UNREACHABLE({ host, reason: "no such host", attempts: 1 }, { cause: error });
  }
  if (CERTIFICATE.test(code)) {
    const reason = error instanceof Error ? error.message : code;
    return imageErrors.REGISTRY_TLS_FAILED({ host, reason }, { cause: error });
  }
  if (isNotTls(error)) return imageErrors.REGISTRY_NOT_TLS({ host }, { cause: error });
  return error;
}

/** The peer speaks, but not TLS. */
export function isNotTls(error: unknown): boolean {
  const code = codeOf(error);
  return code === "EPROTO" || code.startsWith("ERR_SSL_");
}

/** The error code of a failed connection: the first of them where several addresses were tried. */
export function codeOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

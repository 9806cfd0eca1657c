/** gRPC's status, as trailers carry it. */
import { BerthError, messageOf } from "../../base/errors.ts";

export const statusCode = { ok: 0, cancelled: 1, unknown: 2, notFound: 5, unimplemented: 12 } as const;

/** An error that the other side worded. */
export class StatusError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = "StatusError";
    this.code = code;
  }
}

/** BuildKit's own failures are "unknown": a client shows those without the code in front. */
export function statusOf(error: unknown): { readonly code: number; readonly message: string } {
  const message = messageOf(error);
  if (error instanceof StatusError) return { code: error.code, message };
  if (!(error instanceof BerthError)) return { code: statusCode.unknown, message };
  const hinted = error.hint === undefined ? message : `${message} (${error.hint})`;
  switch (error.status) {
    case 499:
      return { code: statusCode.cancelled, message };
    default:
      return {
        code: error.code === "BUILDKIT_METHOD_UNKNOWN" ? statusCode.unimplemented : statusCode.unknown,
        message: hinted,
      };
  }
}

/** The `grpc-message` trailer: everything but printable ASCII in percent notation. */
export function encodeStatusMessage(message: string): string {
  return Array.from(Buffer.from(message, "utf8"), (byte) =>
    byte >= 0x20 && byte <= 0x7e && byte !== 0x25
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`,
  ).join("");
}

export function decodeStatusMessage(text: string): string {
  const bytes: number[] = [];
  for (let at = 0; at < text.length; at++) {
    const hex = /^%([0-9A-Fa-f]{2})/.exec(text.slice(at, at + 3))?.[1];
    if (hex === undefined) bytes.push(text.charCodeAt(at) & 0xff);
    else {
      bytes.push(Number.parseInt(hex, 16));
      at += 2;
    }
  }
  return Buffer.from(bytes).toString("utf8");
}

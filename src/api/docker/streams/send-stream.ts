import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { messageOf } from "../../../base/errors.ts";
import type { Call } from "../route.ts";

/**
 * Answers with the bytes of `body`, at the client's pace. An error in the middle cuts the connection: its status has gone
 * out, and a cut is how HTTP says that an answer is not whole.
 */
export async function sendStream(
  call: Call,
  body: Readable,
  contentType: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { raw } = call.reply;
  call.reply.hijack();
  raw.writeHead(200, { ...plainHeaders(call), ...headers, "Content-Type": contentType });
  raw.flushHeaders();
  try {
    await pipeline(body, raw);
  } catch (error) {
    const fields = { url: call.request.originalUrl, error: messageOf(error) };
    if (raw.destroyed) call.ctx.log.debug(fields, "client left during a stream");
    else call.ctx.log.warn(fields, "stream broke off");
    raw.destroy();
  }
}

/** Headers that were set on the reply: `hijack` leaves sending them to us. */
export function plainHeaders({ reply }: Pick<Call, "reply">): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) headers[name] = String(value);
  }
  return headers;
}

/** Sends a build's result to its client as one stream of bytes, for a file or for its standard output. */
import type { Readable } from "node:stream";
import { type OpContext, withSignal } from "../../base/op-context.ts";
import { buildKitErrors } from "../errors.ts";
import { BytesMessage } from "../wire/session.ts";
import type { ClientSession } from "./sessions.ts";

/** Where a client takes results: one method for bytes and for directories, since it knows which it asked for. */
export const fileSendMethod = "/moby.filesync.v1.FileSend/DiffCopy";

export interface SendRequest {
  /** Place of the output among the client's. */
  readonly exporter: number;
  /** Told of all bytes that were sent so far. */
  readonly progress: (bytes: number) => void;
}

/** The client's own bound for a message is 4 MiB at least. */
const messageBytes = 1 << 20;

/** Opens the stream only when the client is there to take it; sends no faster than the client takes. */
export async function sendBytes(
  ctx: OpContext,
  session: ClientSession,
  request: SendRequest & { readonly open: (ctx: OpContext) => Promise<Readable> },
): Promise<void> {
  checkTaker(session);
  const gone = new AbortController();
  const sending = withSignal(ctx, gone.signal);
  const codecs = [BytesMessage, BytesMessage] as const;
  await using stream = session.client.stream(sending, fileSendMethod, codecs, exporterHeader(request.exporter));
  let whole = false;
  const answered = (async () => {
    for await (const _message of stream.messages);
    if (!whole) throw buildKitErrors.BUILDKIT_SEND_FAILED({ reason: "the client ended it early" });
  })();
  answered.catch((error: unknown) => gone.abort(error));
  const source = await request.open(sending);
  try {
    let bytes = 0;
    for await (const chunk of source) {
      const piece: Buffer = chunk;
      for (let at = 0; at < piece.length; at += messageBytes) {
        await stream.send({ data: piece.subarray(at, at + messageBytes) });
        sending.signal.throwIfAborted();
      }
      bytes += piece.length;
      request.progress(bytes);
    }
  } catch (error) {
    // What the client said is the reason for the rest.
    sending.signal.throwIfAborted();
    throw error;
  } finally {
    source.destroy();
  }
  whole = true;
  stream.end();
  await answered;
}

/** By which the client tells its outputs apart. */
export function exporterHeader(exporter: number): Readonly<Record<string, readonly string[]>> {
  return { "buildkit-attachable-exporter-id": [String(exporter)] };
}

/** Before anything is opened for it. */
export function checkTaker(session: ClientSession): void {
  if (session.supports(fileSendMethod)) return;
  throw buildKitErrors.BUILDKIT_SEND_FAILED({ reason: "the client takes no files" });
}

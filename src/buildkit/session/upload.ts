/** A context that the client was given as a tar (`docker build -`): it serves the bytes under an address of its session. */
import { Readable } from "node:stream";
import type { OpContext } from "../../base/op-context.ts";
import { BytesMessage } from "../wire/session.ts";
import type { ClientSession } from "./sessions.ts";

/** How the address of such a context begins. */
export const uploadUrl = "http://buildkit-session/";

const method = "/moby.upload.v1.Upload/Pull";

/** The bytes as they come; plain or compressed. */
export function uploadedTar(ctx: OpContext, session: ClientSession, url: URL): Readable {
  return Readable.from(pieces(ctx, session, url), { objectMode: false, highWaterMark: 1 << 20 });
}

async function* pieces(ctx: OpContext, session: ClientSession, { host, pathname }: URL): AsyncGenerator<Uint8Array> {
  const metadata = { urlpath: [pathname], urlhost: [host] };
  await using stream = session.client.stream(ctx, method, [BytesMessage, BytesMessage], metadata);
  for await (const { data } of stream.messages) yield data;
}

/** A session inside a call (`Control.Session`): the bytes of its connection are the call's messages, both ways. */
import { duplexPair } from "node:stream";
import type { GrpcCall } from "../grpc/server.ts";
import { BytesMessage } from "../wire/session.ts";
import { drained } from "../grpc/drained.ts";
import type { Sessions } from "./sessions.ts";

export async function* tunnelledSession(
  sessions: Sessions,
  call: GrpcCall,
  requests: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const id = call.metadata("x-docker-expose-session-uuid");
  sessions.check(id);
  const [near, far] = duplexPair();
  const methods = call.metadataAll("x-docker-expose-session-grpc-method");
  const serving = sessions.serve(id, methods, far);
  const leave = (): void => void near.destroy();
  call.ctx.signal.addEventListener("abort", leave, { once: true });
  // The other end's destruction does not reach this one by itself.
  far.once("close", leave);
  near.once("close", () => far.destroy());
  near.on("error", leave);
  const receiving = (async () => {
    try {
      for await (const bytes of requests) {
        if (near.destroyed) return;
        if (!near.write(BytesMessage.decode(bytes).data)) await drained(near);
      }
    } catch (error) {
      call.ctx.log.debug({ error: String(error) }, "a tunnelled session was cut off");
    } finally {
      near.end();
      far.destroy();
    }
  })();
  try {
    for await (const data of near) yield BytesMessage.encode({ data });
  } catch (error) {
    // A session that its client leaves ends so.
    call.ctx.log.debug({ error: String(error) }, "a tunnelled session ended");
  } finally {
    far.destroy();
    await serving;
  }
  await receiving;
}

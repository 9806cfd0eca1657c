/** A TCP proxy that cuts connections after so many bytes of the answer: a bad line to a registry. */
import { connect, createServer, type Socket } from "node:net";

export interface CuttingProxy extends AsyncDisposable {
  readonly host: string;
  /** Connections that were cut. */
  readonly cuts: number;
  /** Bytes of answers that were handed on. */
  readonly bytes: number;
  /** Cut each connection after this many bytes from now on; undefined is never. */
  limit: number | undefined;
  /** Cut each connection after this many bytes of its requests. */
  requestLimit: number | undefined;
  /** How many connections are cut; then the line is good. */
  remainingCuts: number;
}

export async function startCuttingProxy(targetPort: number): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  const state = {
    cuts: 0,
    bytes: 0,
    limit: undefined as number | undefined,
    requestLimit: undefined as number | undefined,
    remainingCuts: Number.POSITIVE_INFINITY,
  };
  const server = createServer((client) => {
    const upstream = connect(targetPort, "127.0.0.1");
    let passed = 0;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    let sent = 0;
    client.on("data", (chunk: Buffer) => {
      sent += chunk.length;
      upstream.write(chunk);
      if (state.requestLimit === undefined || sent <= state.requestLimit || state.remainingCuts <= 0) return;
      state.cuts += 1;
      state.remainingCuts -= 1;
      upstream.end();
      client.resetAndDestroy();
    });
    client.on("end", () => upstream.end());
    upstream.on("data", (chunk: Buffer) => {
      const room = state.limit === undefined || state.remainingCuts <= 0 ? chunk.length : state.limit - passed;
      const piece = chunk.subarray(0, Math.max(0, room));
      passed += piece.length;
      state.bytes += piece.length;
      client.write(piece, () => {
        if (piece.length === chunk.length) return;
        client.end();
      });
      if (piece.length < chunk.length) {
        state.cuts += 1;
        state.remainingCuts -= 1;
        upstream.destroy();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no address");
  return Object.defineProperties(state, {
    host: { value: `127.0.0.1:${address.port}` },
    [Symbol.asyncDispose]: {
      value: async () => {
        for (const socket of sockets) socket.destroy();
        await new Promise((resolve) => server.close(resolve));
      },
    },
  }) as typeof state & { readonly host: string } & AsyncDisposable;
}

import type { IncomingMessage } from "node:http";

/** As long as Go's server waits for the same (net/http, `rstAvoidanceDelay`). */
const lingerMs = 500;

/**
 * Lets a client read its answer although it has not sent all of its request. One that was refused before its body was read, on a
 * connection that is to be closed, would meet a closed socket with the rest of the body: it fails on writing, and never reads why.
 */
export function lingerFor(request: IncomingMessage): void {
  const { headers, socket } = request;
  if ((headers["content-length"] ?? "0") === "0" && headers["transfer-encoding"] === undefined) return;
  const close = socket.destroySoon.bind(socket);
  // Node's way to close a connection behind its last answer.
  socket.destroySoon = () => {
    if (request.complete) {
      close();
      return;
    }
    socket.end();
    // Node drops the body of an answered request as it comes.
    request.once("close", close);
    const limit = setTimeout(close, lingerMs);
    socket.once("close", () => clearTimeout(limit));
  };
}

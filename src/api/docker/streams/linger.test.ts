import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { lingerFor } from "./linger.ts";

const head = "POST / HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Length: 4\r\n\r\n";

/** A client that reads nothing yet, of a server that refuses every request at once; `closed`: the server's side is. */
async function refusing(use: (client: Socket, closed: Promise<void>) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "berth-linger-"));
  const closed = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    lingerFor(request);
    response.writeHead(501).end("refused");
  });
  server.on("connection", (socket) => socket.once("close", () => closed.resolve()));
  server.listen(join(dir, "socket"));
  await once(server, "listening");
  const client = connect({ path: join(dir, "socket"), allowHalfOpen: true }).pause();
  client.on("error", () => undefined);
  try {
    await use(client, closed.promise);
  } finally {
    client.destroy();
    server.close();
    rmSync(dir, { recursive: true });
  }
}

test("a client that has not sent all of its body reads its answer", () =>
  refusing(async (client) => {
    client.write(head);
    await delay(50);
    client.write("late");
    await delay(20);
    let text = "";
    client.on("data", (chunk: Buffer) => (text += chunk.toString())).resume();
    await Promise.race([once(client, "end"), once(client, "close")]);
    expect(text).toMatch(/^HTTP\/1.1 501 [^]*refused/);
  }));

test("a body that never comes whole is not waited for without end", () =>
  refusing(async (client, closed) => {
    client.write(`${head}la`);
    await closed;
  }));

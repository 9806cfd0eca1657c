/** A registry behind a line that can be dead, cut, or answer nothing but errors; at the same address all the time. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { freePort, type RegistryProcess, startRegistry } from "../support/registry.ts";

/** Good; nobody listens; every connection is cut after some bytes; every request is answered with 500. */
export type LineState = "good" | "dead" | "cut" | "500";

export class FlakyRegistry implements AsyncDisposable {
  /** "127.0.0.1:PORT". */
  readonly host: string;
  readonly #port: number;
  readonly #registry: RegistryProcess;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #state: LineState = "good";

  private constructor(registry: RegistryProcess, port: number) {
    this.#registry = registry;
    this.#port = port;
    this.host = `127.0.0.1:${port}`;
  }

  static async start(): Promise<FlakyRegistry> {
    const registry = await startRegistry();
    const flaky = new FlakyRegistry(registry, await freePort());
    await flaky.#listen();
    return flaky;
  }

  async become(state: LineState): Promise<void> {
    this.#state = state;
    if (state !== "good") for (const socket of this.#sockets) socket.destroy();
    if (state === "dead") await this.#close();
    else if (this.#server === undefined) await this.#listen();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await this.#close();
    await this.#registry[Symbol.asyncDispose]();
  }

  async #listen(): Promise<void> {
    const server = createServer((client) => this.#serve(client));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#port, "127.0.0.1", resolve);
    });
    this.#server = server;
  }

  async #close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }

  #serve(client: Socket): void {
    this.#keep(client);
    if (this.#state === "500") {
      client.once("data", () =>
        client.end("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
      );
      return;
    }
    const upstream = connect(this.#registry.port, "127.0.0.1");
    this.#keep(upstream);
    const limit = this.#state === "cut" ? 200_000 : Number.POSITIVE_INFINITY;
    let passed = 0;
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on("data", (chunk: Buffer) => {
        passed += chunk.length;
        if (passed > limit) client.resetAndDestroy();
        else to.write(chunk);
      });
      from.on("close", () => to.destroy());
      from.on("end", () => to.end());
    }
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {}); // "close" follows, and ends the other side.
    socket.on("close", () => this.#sockets.delete(socket));
  }
}

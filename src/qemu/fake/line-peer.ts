import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

type Reply = object | string | Buffer;

/** Answers to one request: objects go out as lines, text and bytes as they are; nothing is silence. */
export type Script = (request: {
  readonly execute: string;
  readonly arguments: never;
  readonly id?: number;
}) => readonly Reply[];

/** A unix socket with something behind it that speaks JSON lines as it was told to: a QEMU or an agent, as bad as needed. */
export class LinePeer implements AsyncDisposable {
  readonly path: string;
  /** Names of all commands that came. */
  readonly asked: string[] = [];
  connections = 0;
  readonly #server: Server;
  readonly #directory: string;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, directory: string) {
    this.#server = server;
    this.#directory = directory;
    this.path = join(directory, "peer.sock");
  }

  /** `greeting` is sent to each client at once. */
  static async start(script: Script, greeting: readonly Reply[] = []): Promise<LinePeer> {
    const directory = mkdtempSync(join(tmpdir(), "berth-peer-"));
    const server = createServer();
    const peer = new LinePeer(server, directory);
    server.on("connection", (socket) => peer.#serve(socket, script, greeting));
    await new Promise<void>((resolve) => server.listen(peer.path, resolve));
    return peer;
  }

  /** To all who are connected. */
  send(...replies: readonly Reply[]): void {
    for (const socket of this.#sockets) for (const reply of replies) socket.write(bytesOf(reply));
  }

  /** Hangs up on all who are connected. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.hangUp();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#directory, { recursive: true });
  }

  #serve(socket: Socket, script: Script, greeting: readonly Reply[]): void {
    this.connections++;
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
    for (const line of greeting) socket.write(bytesOf(line));
    let pending = "";
    socket.on("data", (bytes: Buffer) => {
      const lines = (pending + bytes.toString("latin1").replaceAll("\xff", "")).split("\n");
      pending = lines.pop() ?? "";
      for (const line of lines) {
        const request = JSON.parse(line);
        this.asked.push(request.execute);
        for (const reply of script(request)) {
          const isAnswer = typeof reply === "object" && !Buffer.isBuffer(reply) && request.id !== undefined;
          socket.write(bytesOf(isAnswer && !("event" in reply) ? { id: request.id, ...reply } : reply));
        }
      }
    });
  }
}

function bytesOf(reply: Reply): Buffer {
  if (Buffer.isBuffer(reply)) return reply;
  return Buffer.from(typeof reply === "string" ? reply : `${JSON.stringify(reply)}\r\n`);
}

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  decodeFields,
  encodeFields,
  encodeFrame,
  type Field,
  type Frame,
  FrameReader,
  type FrameType,
  frameType,
} from "../../guest/frames.ts";

/** One client of {@link FakeAgent}. */
export class FakeAgentClient {
  /** Of OPEN. */
  readonly fields: readonly Field[];
  /** What came after it. */
  readonly frames: Frame[] = [];
  readonly #socket: Socket;
  readonly #channel: number;

  constructor(socket: Socket, opened: Frame) {
    this.#socket = socket;
    this.#channel = opened.channel;
    this.fields = decodeFields(opened.payload);
  }

  get(name: string): string | undefined {
    return new Map(this.fields).get(name);
  }

  send(type: FrameType, fields: readonly Field[] = []): void {
    this.#write(type, encodeFields(fields));
  }

  data(text: string, stream = 1): void {
    this.#write(frameType.data, Buffer.from(text), stream);
  }

  credit(bytes: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(bytes);
    this.#write(frameType.credit, payload);
  }

  /** Bytes that came on its stdin. */
  input(): Buffer {
    return Buffer.concat(this.frames.filter(({ type }) => type === frameType.data).map(({ payload }) => payload));
  }

  /** A process's end, as the agent tells it. */
  exit(code: number): void {
    this.send(frameType.exit, [["code", String(code)]]);
    this.send(frameType.closed);
  }

  leave(): void {
    this.#socket.destroy();
  }

  #write(type: FrameType, payload: Uint8Array, stream = 0): void {
    this.#socket.write(encodeFrame(this.#channel, type, payload, stream));
  }
}

/** berth-vmm's socket, with an agent behind it that a test plays. */
export class FakeAgent implements AsyncDisposable {
  readonly runDir: string;
  readonly clients: FakeAgentClient[] = [];
  readonly #server: Server;

  private constructor(runDir: string, onOpen: (client: FakeAgentClient) => void) {
    this.runDir = runDir;
    this.#server = createServer((socket) => {
      const reader = new FrameReader();
      let client: FakeAgentClient | undefined;
      socket.on("error", () => {});
      socket.on("data", (bytes) => {
        for (const frame of reader.push(bytes)) {
          if (frame.type === frameType.open) {
            client = new FakeAgentClient(socket, frame);
            this.clients.push(client);
            onOpen(client);
          } else {
            client?.frames.push(frame);
          }
        }
      });
    });
  }

  /** `onOpen` answers a request as the agent would. */
  static async start(onOpen: (client: FakeAgentClient) => void = () => {}): Promise<FakeAgent> {
    // Longer than a socket's name may be.
    const runDir = join(mkdtempSync(join(tmpdir(), "berth-agent-")), "d".repeat(120));
    mkdirSync(runDir);
    const agent = new FakeAgent(runDir, onOpen);
    const cwd = process.cwd();
    process.chdir(runDir);
    try {
      await new Promise<void>((resolve) => agent.#server.listen("agent.sock", resolve));
    } finally {
      process.chdir(cwd);
    }
    return agent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.clients) client.leave();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(join(this.runDir, ".."), { recursive: true, force: true });
  }
}

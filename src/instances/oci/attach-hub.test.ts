import { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { SeqpacketSocket } from "../../host/host.ts";
import type { OutputFrame } from "../driver.ts";
import { AttachHub } from "./attach-hub.ts";

class FakeSocket implements SeqpacketSocket {
  readonly packets = new Readable({ objectMode: true, read() {} });
  readonly sent: Buffer[] = [];
  writeEnded = false;
  closed = false;

  async send(bytes: Uint8Array): Promise<void> {
    if (this.closed) throw new Error("EPIPE");
    this.sent.push(Buffer.from(bytes));
  }

  shutdownWrite(): void {
    this.writeEnded = true;
  }

  close(): void {
    this.closed = true;
  }

  output(stream: 2 | 3, text: string): void {
    this.packets.push(Buffer.concat([Buffer.from([stream]), Buffer.from(text)]));
  }
}

function open(options: { readonly stdin: boolean; readonly endsStdin: boolean }) {
  const socket = new FakeSocket();
  let closed = 0;
  const hub = new AttachHub(socket, { ...options, onClosed: () => closed++ });
  return { socket, hub, closed: () => closed };
}

const text = (frames: readonly OutputFrame[]) =>
  frames.map(({ stream, data }) => `${stream}:${Buffer.from(data).toString()}`);

describe("AttachHub", () => {
  it("gives every client every frame, and the end", async () => {
    const { socket, hub, closed } = open({ stdin: false, endsStdin: false });
    const clients = [hub.attach(), hub.attach()];
    socket.output(2, "out");
    socket.output(3, "err");
    socket.packets.push(null);
    for (const client of clients) expect(text(await client.output.toArray())).toEqual(["stdout:out", "stderr:err"]);
    expect(closed()).toBe(1);
  });

  it("holds the process up while one client does not read", async () => {
    const { socket, hub } = open({ stdin: false, endsStdin: false });
    const slow = hub.attach();
    for (let line = 0; line < 200; line++) socket.output(2, `${line}`);
    await nextTurn();
    expect(socket.packets.isPaused()).toBe(true);
    socket.packets.push(null);
    expect(await slow.output.toArray()).toHaveLength(200);
  });

  it("goes on when a slow client leaves", async () => {
    const { socket, hub } = open({ stdin: false, endsStdin: false });
    const slow = hub.attach();
    const other = hub.attach();
    const frames = other.output.toArray();
    for (let line = 0; line < 200; line++) socket.output(2, `${line}`);
    await nextTurn();
    slow.detach();
    socket.packets.push(null);
    expect(await frames).toHaveLength(200);
  });

  it("sends stdin in packets that the monitor can take, and its end when asked to", async () => {
    const { socket, hub } = open({ stdin: true, endsStdin: true });
    const { stdin } = hub.attach();
    await new Promise<void>((resolve) => stdin?.end("x".repeat(20_000), () => resolve()));
    expect(socket.sent.map((packet) => packet.length)).toEqual([8192, 8192, 3616]);
    expect(socket.writeEnded).toBe(true);
  });

  it("keeps the connection that holds stdin open, and drops one that does not", () => {
    const holding = open({ stdin: true, endsStdin: true });
    holding.hub.attach().detach();
    expect(holding.socket.closed).toBe(false);
    const watching = open({ stdin: false, endsStdin: false });
    watching.hub.attach().detach();
    expect(watching.socket.closed).toBe(true);
    expect(watching.closed()).toBe(1);
  });

  it("loses what is sent to a process that has ended, without an error", async () => {
    const { socket, hub } = open({ stdin: true, endsStdin: true });
    const { stdin } = hub.attach();
    socket.close();
    await new Promise<void>((resolve, reject) => {
      stdin?.on("error", reject);
      stdin?.end("late", () => resolve());
    });
  });
});

import type { Duplex } from "node:stream";
import {
  decodeFields,
  encodeFields,
  encodeFrame,
  type Field,
  type Frame,
  FrameReader,
  frameType,
} from "../../../src/guest/frames.ts";

/** What became of one channel. */
export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  /** EXIT, REPLY or ERROR, as it was sent. */
  readonly fields: Readonly<Record<string, string>>;
}

interface Channel {
  readonly frames: (frame: Frame) => void;
}

/** A client of the agent, for tests. */
export class AgentClient {
  readonly #road: Duplex;
  readonly #channels = new Map<number, Channel>();
  #last = 0;

  constructor(road: Duplex) {
    this.#road = road;
    const reader = new FrameReader();
    road.on("data", (bytes: Buffer) => {
      for (const frame of reader.push(bytes)) this.#channels.get(frame.channel)?.frames(frame);
    });
  }

  /** Its fields, from HELLO. */
  async hello(): Promise<Readonly<Record<string, string>>> {
    return await new Promise((resolve) => {
      this.#channels.set(0, { frames: ({ payload }) => resolve(Object.fromEntries(decodeFields(payload))) });
      this.send(encodeFrame(0, frameType.hello));
    });
  }

  send(bytes: Buffer): void {
    this.#road.write(bytes);
  }

  /** Opens a channel; resolves when it is closed. `reads: false` never gives credit. */
  open(fields: readonly Field[], options: { readonly input?: string | Buffer; readonly reads?: boolean } = {}) {
    const channel = ++this.#last;
    const output: [Buffer[], Buffer[], Buffer[]] = [[], [], []];
    let last: readonly Field[] = [];
    const started = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<Outcome>();
    const frames = ({ type, stream, payload }: Frame) => {
      if (type === frameType.data) {
        output[stream === 2 ? 2 : 1].push(payload);
        if (options.reads !== false) this.send(encodeFrame(channel, frameType.credit, u32(payload.length), stream));
      } else if (type === frameType.started) {
        started.resolve();
      } else if (type === frameType.exit || type === frameType.reply || type === frameType.error) {
        last = decodeFields(payload);
      } else if (type === frameType.closed) {
        started.resolve();
        const text = (parts: Buffer[]) => Buffer.concat(parts).toString("latin1");
        closed.resolve({ stdout: text(output[1]), stderr: text(output[2]), fields: Object.fromEntries(last) });
      }
    };
    this.#channels.set(channel, { frames });
    this.send(encodeFrame(channel, frameType.open, encodeFields(fields)));
    if (options.input !== undefined) {
      this.send(encodeFrame(channel, frameType.data, Buffer.from(options.input)));
      this.send(encodeFrame(channel, frameType.end));
    }
    const received = () => output[1].reduce((sum, part) => sum + part.length, 0);
    return { channel, started: started.promise, closed: closed.promise, received };
  }

  async call(fields: readonly Field[], input?: string | Buffer): Promise<Outcome> {
    return await this.open(fields, input === undefined ? {} : { input }).closed;
  }

  /** A command beside the main process, by sh. */
  async sh(script: string, ...more: readonly Field[]): Promise<Outcome> {
    return await this.call([["verb", "exec"], ["arg", "/bin/sh"], ["arg", "-c"], ["arg", script], ...more]);
  }
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

import { Transform, type TransformCallback } from "node:stream";

export interface Frame {
  readonly stream: "stdout" | "stderr";
  readonly data: Buffer;
}

/**
 * Takes Docker's multiplexed stream apart: an 8-byte header (stream number, three zeros, big-endian length), then the data.
 * Object mode out. See the Engine API's "Stream format" under ContainerAttach.
 */
export class FrameDecoder extends Transform {
  #pending: Buffer = Buffer.alloc(0);

  constructor() {
    super({ readableObjectMode: true });
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    while (this.#pending.length >= 8) {
      const end = 8 + this.#pending.readUInt32BE(4);
      if (this.#pending.length < end) break;
      const frame: Frame = {
        stream: this.#pending[0] === 2 ? "stderr" : "stdout",
        data: this.#pending.subarray(8, end),
      };
      this.push(frame);
      this.#pending = this.#pending.subarray(end);
    }
    done();
  }
}

/** Docker's framing of two output streams in one connection: 8 bytes of head, then the data. */
import { Transform } from "node:stream";
import type { OutputFrame } from "../../../instances/driver.ts";

/** One frame: stream (1 stdout, 2 stderr), three zeros, length as 32 bits big-endian, data. */
export function stdcopyFrame(stream: "stdout" | "stderr", data: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(8 + data.byteLength);
  frame.writeUInt32BE(stream === "stdout" ? 0x01000000 : 0x02000000, 0);
  frame.writeUInt32BE(data.byteLength, 4);
  frame.set(data, 8);
  return frame;
}

/** Turns {@link OutputFrame} objects into bytes: as they are for a terminal, else framed. */
export function outputBytes(raw: boolean): Transform {
  return new Transform({
    writableObjectMode: true,
    transform(frame: OutputFrame, _encoding, done) {
      done(null, raw ? frame.data : stdcopyFrame(frame.stream, frame.data));
    },
  });
}

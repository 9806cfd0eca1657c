/** Reads what attach and exec send: Docker's frames, or the raw bytes of a terminal. */
import { text } from "node:stream/consumers";
import type { Upgraded } from "../../../src/client/engine-client.ts";
import { type Frame, FrameDecoder } from "../../../src/client/output-frames.ts";

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

/** Sends `input` and half-closes, when there is one, and reads to the end. */
export async function converse({ socket, head }: Upgraded, tty: boolean, input?: string): Promise<Output> {
  if (head.length > 0) socket.unshift(head);
  if (input !== undefined) socket.end(input);
  try {
    if (tty) return { stdout: await text(socket), stderr: "" };
    const output = { stdout: "", stderr: "" };
    const decoder = new FrameDecoder();
    socket.on("error", (error) => decoder.destroy(error));
    socket.on("close", () => decoder.end());
    for await (const frame of socket.pipe(decoder)) {
      const { stream, data } = frame as Frame;
      output[stream] += data.toString("utf8");
    }
    return output;
  } finally {
    socket.destroy();
  }
}

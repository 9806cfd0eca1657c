import type { Upgraded } from "../../client/engine-client.ts";
import { type Frame, FrameDecoder } from "../../client/output-frames.ts";
import type { CliContext } from "../command.ts";
import { DetachKeys } from "./detach-keys.ts";

export interface StreamOptions {
  readonly tty: boolean;
  /** Forward our stdin; its end half-closes the connection. */
  readonly stdin: boolean;
  /** docker's notation; only looked for on a terminal. */
  readonly detachKeys?: string | undefined;
}

/**
 * Joins our terminal with an attached process until the process's output ends, or the user types the detach keys. With a terminal,
 * stdin is raw while it lasts, and is put back in any case.
 */
export async function joinStreams(
  ctx: CliContext,
  { socket, head, contentType }: Upgraded,
  options: StreamOptions,
): Promise<"ended" | "detached"> {
  const { promise: ended, resolve, reject } = Promise.withResolvers<"ended" | "detached">();
  const finish = () => resolve("ended");
  const framed = !options.tty && contentType !== "application/vnd.docker.raw-stream-tty";
  if (head.length > 0) socket.unshift(head);
  if (framed) {
    const decoder = socket.pipe(new FrameDecoder());
    decoder.on("data", ({ stream, data }: Frame) => {
      const target = stream === "stderr" ? ctx.stderr : ctx.stdout;
      if (!target.write(data)) {
        decoder.pause();
        target.once("drain", () => decoder.resume());
      }
    });
    decoder.once("end", finish);
  } else {
    socket.pipe(ctx.stdout, { end: false });
    socket.once("end", finish);
  }
  socket.once("error", reject).once("close", finish);
  using _raw = options.tty && options.stdin ? rawMode(ctx) : undefined;
  const keys = options.tty ? new DetachKeys(options.detachKeys) : undefined;
  const forward = (chunk: Buffer) => {
    const typed = keys?.feed(chunk) ?? { forward: chunk, detached: false };
    if (typed.detached) resolve("detached");
    if (!socket.write(typed.forward)) {
      ctx.stdin.pause();
      socket.once("drain", () => ctx.stdin.resume());
    }
  };
  const close = () => socket.end();
  if (options.stdin) ctx.stdin.on("data", forward).once("end", close).resume();
  try {
    return await ended;
  } finally {
    ctx.stdin.off("data", forward).off("end", close).pause();
    socket.destroy();
  }
}

/** Stdin byte by byte, without echo and signals, until disposed. */
function rawMode(ctx: CliContext): Disposable {
  const restore = ctx.stdin.isTTY === true && ctx.stdin.setRawMode !== undefined;
  if (restore) ctx.stdin.setRawMode?.(true);
  return {
    [Symbol.dispose]: () => {
      if (restore) ctx.stdin.setRawMode?.(false);
    },
  };
}

/** Calls `resize` now and whenever our terminal's size changes, until disposed. */
export function followSize(
  ctx: CliContext,
  resize: (size: { readonly rows: number; readonly columns: number }) => Promise<unknown>,
): Disposable {
  if (ctx.stdout.isTTY !== true) return { [Symbol.dispose]() {} };
  // A process that ended between the signal and the call is no reason to complain.
  const send = () => void resize({ rows: ctx.stdout.rows ?? 24, columns: ctx.stdout.columns ?? 80 }).catch(() => {});
  send();
  ctx.stdout.on("resize", send);
  return { [Symbol.dispose]: () => void ctx.stdout.off("resize", send) };
}

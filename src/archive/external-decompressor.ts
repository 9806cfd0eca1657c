/** xz and bzip2, which Node has no decoder for, through their programs. */
import { Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import type { OpContext } from "../base/op-context.ts";
import type { Processes } from "../host/host.ts";
import { archiveErrors } from "./errors.ts";

export type Filters = Pick<Processes, "spawn" | "which" | "signal">;

const SIGKILL = 9;

/** `source` decompressed by the program; the program ends with the consumer. */
export async function* filterThrough(
  ctx: OpContext,
  filters: Filters | undefined,
  compression: "bzip2" | "xz",
  source: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer, void, void> {
  const program = filters?.which(compression);
  if (filters === undefined || program === undefined) {
    throw archiveErrors.ARCHIVE_COMPRESSION_UNSUPPORTED({ compression, program: compression });
  }
  const child = await filters.spawn(ctx, {
    argv: [program, "-d", "-c"],
    env: {},
    fds: { 0: { kind: "pipe", parent: "writes" }, 1: { kind: "pipe", parent: "reads" } },
  });
  const input = new Socket({ fd: child.pipes[0] ?? -1, readable: false, writable: true });
  const output = new Socket({ fd: child.pipes[1] ?? -1, readable: true, writable: false });
  // A program that stops reading is judged by its exit status, a source that breaks is rethrown below.
  let sourceError: unknown;
  const feeding = pipeline(source, input).catch((error: unknown) => {
    if (!(error instanceof Error && "code" in error && error.code === "EPIPE")) sourceError = error;
  });
  try {
    for await (const chunk of output) yield chunk;
    await feeding;
    if (sourceError !== undefined) throw sourceError;
    const status = await child.exited;
    if (status.code !== 0 || status.signal !== 0) {
      throw archiveErrors.ARCHIVE_CORRUPT({ entry: "", reason: `${compression} could not decompress it` });
    }
  } finally {
    input.destroy();
    output.destroy();
    filters.signal(child.identity, SIGKILL);
  }
}

/** Files of the guest through its agent: as the guest's root, in pieces. */
import type { OpContext } from "../base/op-context.ts";
import { cleanupContext } from "../base/op-context.ts";
import { qemuErrors } from "./errors.ts";
import { type GuestAgent, parseReply } from "./qga-client.ts";
import { booleanOf, numberOf, objectOf, stringOf } from "./reply.ts";

const pieceBytes = 64 * 1024;

/** The bytes of a file, as they are read. `QGA_REFUSED` has the guest's reason ("No such file or directory"). */
export async function* readGuestFile(ctx: OpContext, agent: GuestAgent, path: string): AsyncGenerator<Buffer> {
  const handle = await openFile(ctx, agent, path, "rb");
  try {
    for (;;) {
      const reply = await agent.execute(ctx, "guest-file-read", { handle, count: pieceBytes });
      const { bytes, isLast } = parseReply("guest-file-read", reply, (value) => {
        const piece = objectOf(value, "return");
        const data = Buffer.from(stringOf(piece["buf-b64"], "buf-b64"), "base64");
        return { bytes: data, isLast: booleanOf(piece["eof"], "eof") || data.length === 0 };
      });
      if (bytes.length > 0) yield bytes;
      if (isLast) return;
    }
  } finally {
    await agent.execute(cleanupContext(ctx), "guest-file-close", { handle });
  }
}

/** A whole small file; `GUEST_FILE_TOO_LARGE` beyond `maxBytes`. */
export async function readSmallGuestFile(
  ctx: OpContext,
  agent: GuestAgent,
  path: string,
  maxBytes: number,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of readGuestFile(ctx, agent, path)) {
    length += piece.length;
    if (length > maxBytes) throw qemuErrors.GUEST_FILE_TOO_LARGE({ path, bytes: maxBytes });
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** Writes a file anew (0600 or what its umask leaves where it was not there). A source that fails leaves what was written. */
export async function writeGuestFile(
  ctx: OpContext,
  agent: GuestAgent,
  path: string,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  const handle = await openFile(ctx, agent, path, "wb");
  try {
    for await (const bytes of source) {
      for (let at = 0; at < bytes.length; )
        at += await writePiece(ctx, agent, handle, bytes.subarray(at, at + pieceBytes));
    }
    await agent.execute(ctx, "guest-file-flush", { handle });
  } finally {
    await agent.execute(cleanupContext(ctx), "guest-file-close", { handle });
  }
}

/** How many bytes of it the guest has taken: at least one. */
async function writePiece(ctx: OpContext, agent: GuestAgent, handle: number, piece: Uint8Array): Promise<number> {
  const args = { handle, "buf-b64": Buffer.from(piece).toString("base64"), count: piece.length };
  const reply = await agent.execute(ctx, "guest-file-write", args);
  const count = parseReply("guest-file-write", reply, (value) => numberOf(objectOf(value, "return")["count"], "count"));
  if (count > 0 && count <= piece.length) return count;
  throw qemuErrors.QGA_REPLY_INVALID({
    command: "guest-file-write",
    reason: `${count} of ${piece.length} bytes written`,
  });
}

async function openFile(ctx: OpContext, agent: GuestAgent, path: string, mode: "rb" | "wb"): Promise<number> {
  const reply = await agent.execute(ctx, "guest-file-open", { path, mode });
  return parseReply("guest-file-open", reply, (value) => numberOf(value, "return"));
}

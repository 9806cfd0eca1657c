import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { basename, dirname } from "node:path";
import type { OpContext } from "../base/op-context.ts";

/**
 * Connects to a unix socket; rejects with the errno of connect(2). Through a descriptor of its directory: names of sockets have at most
 * 108 bytes, paths of directories more. A connection that the listener has not taken yet counts: QEMU serves one client after another.
 */
export async function connectUnix(ctx: OpContext, path: string): Promise<Socket> {
  ctx.signal.throwIfAborted();
  const directory = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await new Promise((resolve, reject) => {
      const socket = connect(`/proc/self/fd/${directory.fd}/${basename(path)}`);
      // Stays: what goes wrong later is the end of the socket, which its user sees.
      socket.on("error", reject);
      socket.once("connect", () => resolve(socket));
    });
  } finally {
    await directory.close();
  }
}

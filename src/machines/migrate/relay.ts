/** Bytes between a socket in a machine's jail and a stream to the other engine: two engines need see nothing of each other's files. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { basename, dirname } from "node:path";
import { type Duplex, pipeline } from "node:stream";
import type { Logger } from "../../base/logger.ts";
import { messageOf } from "../../base/errors.ts";
import { rm } from "../../host/files.ts";

/** Both ways, until both have ended; what goes wrong on one side ends the other. */
export function join(one: Duplex, other: Duplex): void {
  // Each sees the end of its connection, and says why.
  pipeline(one, other, () => {});
  pipeline(other, one, () => {});
}

/**
 * Listens at `path`, and joins each connection with what `far` opens for it. Through a descriptor of the directory: names of sockets have
 * at most 108 bytes.
 */
export async function listenAndRelay(path: string, log: Logger, far: () => Promise<Duplex>): Promise<AsyncDisposable> {
  const directory = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    far().then(
      (stream) => join(socket, stream),
      (error: unknown) => {
        log.warn({ path, error: messageOf(error) }, "the other engine takes no stream of a machine's");
        socket.destroy();
      },
    );
  });
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    await rm(path, { force: true });
    await directory.close();
  };
  try {
    await rm(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(`/proc/self/fd/${directory.fd}/${basename(path)}`, resolve);
    });
    return { [Symbol.asyncDispose]: close };
  } catch (error) {
    await directory.close();
    throw error;
  }
}

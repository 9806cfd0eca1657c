import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { errnoOf } from "../../host/errors.ts";

/**
 * Connects to berth-vmm; rejects with ENOENT until it listens. Through a descriptor of the directory: the names of sockets are short
 * (108 bytes), those of run directories need not be.
 */
export async function connectToAgent(runDir: string): Promise<Socket> {
  const directory = await open(runDir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await new Promise((resolve, reject) => {
      const socket = connect(`/proc/self/fd/${directory.fd}/agent.sock`);
      // Stays: what goes wrong later is the end of the socket, which whoever has it then sees.
      socket.on("error", reject);
      socket.once("connect", () => resolve(socket));
    });
  } finally {
    await directory.close();
  }
}

/** Of `connectToAgent`: berth-vmm does not listen yet, or has ended; the last, while the connection was waiting to be taken. */
export function isNobodyThere(error: unknown): boolean {
  return ["ENOENT", "ECONNREFUSED", "ECONNRESET"].includes(errnoOf(error) ?? "");
}

import type { Socket } from "node:net";
import { bind } from "./libc.ts";

/** unix(7): bytes that were sent and the other side has not read yet. TCP: not acknowledged yet. */
const SIOCOUTQ = 0x5411n;
const ioctl = bind<(fd: number, request: bigint, argument: Int32Array) => number>(
  "int ioctl(int fd, unsigned long request, void *argument)",
);

/** Bytes that `socket` has sent and its peer has not read; undefined where nobody can tell. */
export function unreadBytes(socket: Socket): number | undefined {
  const fd = descriptorOf(socket);
  if (fd === undefined) return undefined;
  const size = new Int32Array(1);
  return ioctl(fd, SIOCOUTQ, size) === 0 ? socket.writableLength + (size[0] ?? 0) : undefined;
}

/** Node shows it to nobody but its own. */
function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = "_handle" in socket ? socket._handle : undefined;
  if (typeof handle !== "object" || handle === null || !("fd" in handle)) return undefined;
  return typeof handle.fd === "number" && handle.fd >= 0 ? handle.fd : undefined;
}

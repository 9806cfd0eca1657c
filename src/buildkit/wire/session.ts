/** The services that a build's client serves: its files (fsutil's protocol), its secrets, its credentials. */
import { bytes, count, type Decoded, integer, map, message, nested, text } from "./message.ts";

/** A file's attributes; `mode` is Go's `os.FileMode`, not the kernel's. */
export const Stat = message({
  path: [1, text],
  mode: [2, count],
  uid: [3, count],
  gid: [4, count],
  size: [5, integer],
  /** Nanoseconds since the epoch. */
  modTime: [6, integer],
  /** Of a symbolic link its target, of a file the path that it is another name of. */
  linkname: [7, text],
  devmajor: [8, integer],
  devminor: [9, integer],
  xattrs: [10, map(bytes)],
});
export type Stat = Decoded<typeof Stat>;

/** Numbers of {@link Packet}'s types. */
export const packetType = { stat: 0, request: 1, data: 2, end: 3, error: 4 } as const;

export const Packet = message({ type: [1, count], stat: [2, nested(Stat)], ID: [3, count], data: [4, bytes] });
export type Packet = Decoded<typeof Packet>;

export const BytesMessage = message({ data: [1, bytes] });

export const GetSecretRequest = message({ ID: [1, text] });
export const GetSecretResponse = message({ data: [1, bytes] });

export const CheckAgentRequest = message({ ID: [1, text] });
export const CheckAgentResponse = message({});

export const CredentialsRequest = message({ Host: [1, text] });
export const CredentialsResponse = message({ Username: [1, text], Secret: [2, text] });

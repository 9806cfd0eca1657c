/** cpio archives in the "newc" format, which the kernel unpacks as its initial root. Documentation/driver-api/early-userspace/buffer-format.rst. */
export interface CpioEntry {
  /** Without a leading slash; parents come first. */
  readonly name: string;
  /** File type and permissions, as in st_mode. */
  readonly mode: number;
  readonly data: Uint8Array;
}

export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;

/** The archive. No times and no host's inode numbers are in it: the same entries are the same bytes. */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  const add = (part: Uint8Array) => {
    parts.push(part, Buffer.alloc(-part.length & 3));
  };
  for (const [index, { name, mode, data }] of [...entries, trailer].entries()) {
    const path = Buffer.from(`${name}\0`);
    const numbers = [index + 1, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length, 0];
    const header = `070701${numbers.map((number) => number.toString(16).padStart(8, "0")).join("")}`;
    add(Buffer.concat([Buffer.from(header), path]));
    add(data);
  }
  return Buffer.concat(parts);
}

const trailer: CpioEntry = { name: "TRAILER!!!", mode: 0, data: new Uint8Array() };

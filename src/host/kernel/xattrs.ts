import { bind, checked } from "../libc.ts";
import { SyscallError } from "../syscall-error.ts";
import { named } from "./worker-failure.ts";

const lgetxattr = bind<(path: string, name: string, value: Buffer | null, size: number) => number>(
  "long lgetxattr(const char *path, const char *name, void *value, size_t size)",
);
const llistxattr = bind<(path: string, list: Buffer | null, size: number) => number>(
  "long llistxattr(const char *path, void *list, size_t size)",
);
const lsetxattr = bind<(path: string, name: string, value: Buffer, size: number, flags: number) => number>(
  "int lsetxattr(const char *path, const char *name, void *value, size_t size, int flags)",
);

/** Undefined when the file has no such attribute or the file system has none at all. */
export function getXattr(path: string, name: string): Uint8Array | undefined {
  return named("get-xattr", `${path} ${name}`, () => {
    try {
      return sized((buffer, size) => checked("lgetxattr", lgetxattr(path, name, buffer, size)));
    } catch (error) {
      if (error instanceof SyscallError && (error.code === "ENODATA" || error.code === "ENOTSUP")) return undefined;
      throw error;
    }
  });
}

export function listXattrs(path: string): readonly string[] {
  return named("list-xattrs", path, () => {
    try {
      const names = sized((buffer, size) => checked("llistxattr", llistxattr(path, buffer, size)));
      return names.length === 0 ? [] : names.toString("utf8", 0, names.length - 1).split("\0");
    } catch (error) {
      if (error instanceof SyscallError && error.code === "ENOTSUP") return [];
      throw error;
    }
  });
}

export function setXattr(path: string, name: string, value: Uint8Array): void {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  checked("lsetxattr", lsetxattr(path, name, bytes, bytes.length, 0));
}

/** Calls once for the size and once for the bytes; again when they grew in between. */
function sized(call: (buffer: Buffer | null, size: number) => number): Buffer {
  for (;;) {
    const size = call(null, 0);
    if (size === 0) return Buffer.alloc(0);
    const buffer = Buffer.alloc(size);
    try {
      return buffer.subarray(0, call(buffer, size));
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === "ERANGE")) throw error;
    }
  }
}

/** The text inside a vmdk: VMware "Virtual Disk Format 5.0", "The Descriptor". Pure. */
import { diskErrors } from "./errors.ts";

/** The create type of a disk that is in one file with nothing behind it; all else is refused. */
export function vmdkSubformat(descriptor: string, file: string): "monolithicSparse" | "streamOptimized" {
  const lines = descriptor.split(/\r?\n/).map((line) => line.trim());
  const value = (key: string) => {
    const line = lines.find((text) => text.toLowerCase().startsWith(`${key.toLowerCase()}=`));
    return line?.slice(key.length + 1).replace(/^"(.*)"$/, "$1");
  };
  const hint = value("parentFileNameHint");
  const parent = value("parentCID")?.toLowerCase() ?? "ffffffff";
  if (hint !== undefined || parent !== "ffffffff") {
    throw diskErrors.DISK_BACKING_REFUSED({ file, backing: hint ?? `the disk with the content id ${parent}` });
  }
  const extents = lines.filter((line) => /^(RW|RDONLY|NOACCESS)\s/.test(line));
  const [extent] = extents;
  const type = value("createType");
  if (extents.length !== 1 || extent === undefined || (type !== "monolithicSparse" && type !== "streamOptimized")) {
    const named = extents.flatMap((line) => /"([^"]*)"/.exec(line)?.[1] ?? []).join(", ");
    if (type === undefined && named === "")
      throw diskErrors.DISK_CORRUPT({ file, reason: "its descriptor says nothing" });
    throw diskErrors.DISK_BACKING_REFUSED({ file, backing: named || `the files of a vmdk of type ${type}` });
  }
  if (!/^(RW|RDONLY)\s+\d+\s+SPARSE\s+"/.test(extent)) {
    throw diskErrors.DISK_BACKING_REFUSED({ file, backing: /"([^"]*)"/.exec(extent)?.[1] ?? extent });
  }
  return type;
}

/** The descriptor with another name of the one extent, which is the file itself, in the same number of bytes. */
export function renameExtent(descriptor: Buffer, name: string): Buffer {
  const text = descriptor.toString("latin1").replace(/\0+$/, "");
  const renamed = text.replace(/^((?:RW|RDONLY)\s+\d+\s+SPARSE\s+)"[^"]*"/m, (_, start: string) => `${start}"${name}"`);
  const out = Buffer.alloc(descriptor.length);
  if (Buffer.byteLength(renamed, "latin1") > out.length) return descriptor;
  out.write(renamed, "latin1");
  return out;
}

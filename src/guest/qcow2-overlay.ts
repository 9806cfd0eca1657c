/**
 * An empty qcow2 overlay on a raw disk, as `qemu-img create -b` makes it, without the process (15 ms). QEMU, docs/interop/qcow2.txt.
 * Four clusters of metadata, and no data: each byte is read from the backing file until it is written.
 */
const clusterBits = 16;
const clusterSize = 1 << clusterBits;
/** One L2 table is a cluster of 8-byte entries, each for a cluster of data: 512 MiB. */
const bytesPerL2 = (clusterSize / 8) * clusterSize;
const headerLength = 104;

const extension = { backingFormat: 0xe2792aca, end: 0 };

/** Bytes of the file. `backing` is a path as QEMU will see it, at most 1023 bytes; `virtualSize` is that of the backing disk. */
export function emptyOverlay(backing: string, virtualSize: number): Buffer {
  const name = Buffer.from(backing);
  if (name.length === 0 || name.length > 1023)
    throw new RangeError(`a backing file's path has 1 to 1023 bytes: ${backing}`);
  const l1Entries = Math.ceil(virtualSize / bytesPerL2);
  if (virtualSize <= 0 || l1Entries * 8 > clusterSize)
    throw new RangeError(`a disk has 1 byte to 4 TiB: ${virtualSize}`);

  const file = Buffer.alloc(4 * clusterSize);
  file.writeUInt32BE(0x514649fb, 0); // "QFI\xfb"
  file.writeUInt32BE(3, 4);
  const format = Buffer.from("raw");
  let at = headerLength;
  file.writeUInt32BE(extension.backingFormat, at);
  file.writeUInt32BE(format.length, at + 4);
  format.copy(file, at + 8);
  at += 8 + 8; // Padded to eight bytes.
  file.writeUInt32BE(extension.end, at);
  at += 8;
  file.writeBigUInt64BE(BigInt(at), 8);
  file.writeUInt32BE(name.length, 16);
  name.copy(file, at);
  file.writeUInt32BE(clusterBits, 20);
  file.writeBigUInt64BE(BigInt(virtualSize), 24);
  file.writeUInt32BE(l1Entries, 36);
  file.writeBigUInt64BE(BigInt(3 * clusterSize), 40); // L1 table
  file.writeBigUInt64BE(BigInt(clusterSize), 48); // refcount table
  file.writeUInt32BE(1, 56);
  file.writeUInt32BE(4, 96); // 16-bit refcounts
  file.writeUInt32BE(headerLength, 100);

  // The refcount table's one entry is the block after it, in which the four clusters of this file have a count of 1.
  file.writeBigUInt64BE(BigInt(2 * clusterSize), clusterSize);
  for (let cluster = 0; cluster < 4; cluster++) file.writeUInt16BE(1, 2 * clusterSize + 2 * cluster);
  return file;
}

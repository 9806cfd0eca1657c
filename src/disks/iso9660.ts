/**
 * An ISO 9660 image of a few small files in one directory, with Joliet names (ECMA-119, 4th edition; Joliet specification, 1995). Pure.
 * Linux shows the names of the second tree, where both trees have the same files.
 */

const sector = 2048;
/** System area, three descriptors, four path tables. */
const layout = { primary: 16, joliet: 17, terminator: 18, pathTables: 19, primaryRoot: 23, jolietRoot: 24, files: 25 };
const pathTableBytes = 10;
const maxBytes = 64 * 1024 * 1024;

export interface IsoFile {
  /** Up to 64 characters, no slash. */
  readonly name: string;
  readonly contents: Uint8Array;
}

/** The bytes of the image, a multiple of 2048. `label`: up to 16 characters. `date`: of every file, and of the image. */
export function isoImage(label: string, files: readonly IsoFile[], date: Date): Buffer {
  if (label.length > 16) throw new RangeError(`a label has up to 16 characters: ${label}`);
  let next = layout.files;
  const placed = files.map(({ name, contents }, index) => {
    if (name === "" || name.length > 64 || /[/\0;]/.test(name)) throw new RangeError(`no name of a file: ${name}`);
    const at = next;
    next += Math.ceil(contents.length / sector);
    return { name, contents, at, shortName: `FILE${index}.;1` };
  });
  if (next * sector > maxBytes) throw new RangeError(`files of ${maxBytes} bytes at most: ${next * sector}`);

  const image = Buffer.alloc(next * sector);
  const root = (at: number) => directoryRecord(Buffer.from([0]), at, sector, date, true);
  volumeDescriptor(image.subarray(layout.primary * sector), {
    type: 1,
    text: (value) => Buffer.from(value, "latin1"),
    label,
    root: root(layout.primaryRoot),
    pathTable: layout.pathTables,
    sectors: next,
    date,
  });
  volumeDescriptor(image.subarray(layout.joliet * sector), {
    type: 2,
    text: utf16,
    label,
    root: root(layout.jolietRoot),
    pathTable: layout.pathTables + 2,
    sectors: next,
    date,
  });
  image.write("\xffCD001\x01", layout.terminator * sector, "latin1");

  for (const [table, directory] of [layout.primaryRoot, layout.jolietRoot].entries()) {
    const at = (layout.pathTables + 2 * table) * sector;
    image.writeUInt8(1, at);
    image.writeUInt32LE(directory, at + 2);
    image.writeUInt16LE(1, at + 6);
    image.writeUInt8(1, at + sector);
    image.writeUInt32BE(directory, at + sector + 2);
    image.writeUInt16BE(1, at + sector + 6);
  }
  const write = (directory: number, nameOf: (file: (typeof placed)[number]) => Buffer) => {
    const here = directoryRecord(Buffer.from([0]), directory, sector, date, true);
    const above = directoryRecord(Buffer.from([1]), directory, sector, date, true);
    const entries = placed
      .map((file) => ({ name: nameOf(file), file }))
      .sort((a, b) => Buffer.compare(a.name, b.name))
      .map(({ name, file }) => directoryRecord(name, file.at, file.contents.length, date, false));
    const records = Buffer.concat([here, above, ...entries]);
    if (records.length > sector) throw new RangeError("too many files for one sector of a directory");
    records.copy(image, directory * sector);
  };
  write(layout.primaryRoot, ({ shortName }) => Buffer.from(shortName, "latin1"));
  write(layout.jolietRoot, ({ name }) => utf16(name));
  for (const { at, contents } of placed) image.set(contents, at * sector);
  return image;
}

/** ECMA-119, 9.1. */
function directoryRecord(name: Buffer, at: number, length: number, date: Date, isDirectory: boolean): Buffer {
  const size = 33 + name.length;
  const record = Buffer.alloc(size + (size % 2));
  record.writeUInt8(record.length, 0);
  both32(record, 2, at);
  both32(record, 10, length);
  record.writeUInt8(date.getUTCFullYear() - 1900, 18);
  record.writeUInt8(date.getUTCMonth() + 1, 19);
  record.writeUInt8(date.getUTCDate(), 20);
  record.writeUInt8(date.getUTCHours(), 21);
  record.writeUInt8(date.getUTCMinutes(), 22);
  record.writeUInt8(date.getUTCSeconds(), 23);
  record.writeUInt8(isDirectory ? 2 : 0, 25);
  both16(record, 28, 1);
  record.writeUInt8(name.length, 32);
  name.copy(record, 33);
  return record;
}

interface Volume {
  /** 1: primary; 2: supplementary, with Joliet's escape sequence. */
  readonly type: 1 | 2;
  readonly text: (value: string) => Buffer;
  readonly label: string;
  readonly root: Buffer;
  readonly pathTable: number;
  readonly sectors: number;
  readonly date: Date;
}

/** ECMA-119, 8.4 and 8.5. */
function volumeDescriptor(at: Buffer, { type, text, label, root, pathTable, sectors, date }: Volume): void {
  const blank = (from: number, to: number) => {
    const space = text(" ");
    for (let i = from; i + space.length <= to; i += space.length) space.copy(at, i);
  };
  at.writeUInt8(type, 0);
  at.write("CD001\x01", 1, "latin1");
  blank(8, 40);
  blank(40, 72);
  text(label).copy(at, 40);
  both32(at, 80, sectors);
  // UCS-2, level 3.
  if (type === 2) at.write("%/E", 88, "latin1");
  both16(at, 120, 1);
  both16(at, 124, 1);
  both16(at, 128, sector);
  both32(at, 132, pathTableBytes);
  at.writeUInt32LE(pathTable, 140);
  at.writeUInt32BE(pathTable + 1, 148);
  root.copy(at, 156);
  blank(190, 813);
  const digits = date.toISOString().replaceAll(/\D/g, "").slice(0, 16);
  for (const field of [813, 830]) at.write(digits, field, "latin1");
  for (const field of [847, 864]) at.write("0".repeat(16), field, "latin1");
  at.writeUInt8(1, 881);
}

function utf16(value: string): Buffer {
  return Buffer.from(value, "utf16le").swap16();
}

function both16(at: Buffer, offset: number, value: number): void {
  at.writeUInt16LE(value, offset);
  at.writeUInt16BE(value, offset + 2);
}

function both32(at: Buffer, offset: number, value: number): void {
  at.writeUInt32LE(value, offset);
  at.writeUInt32BE(value, offset + 4);
}

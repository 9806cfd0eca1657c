/** The format of conmon's `k8s-file` driver: a line each write, `<RFC 3339 nano> <stdout|stderr> <F|P> <text>`. */
export interface LogEntry {
  /** As written, with the zone of whoever wrote it. */
  readonly time: string;
  readonly stream: "stdout" | "stderr";
  /** Tag P: the line goes on in the next entry of this stream. */
  readonly partial: boolean;
  readonly text: Uint8Array;
}

const space = 0x20;
const tagF = 0x46;
const tagP = 0x50;

/** The entry in `line` (without its newline); undefined for a torn one, such as a crash of the machine leaves. */
export function parseEntry(line: Uint8Array): LogEntry | undefined {
  const afterTime = line.indexOf(space);
  const afterStream = afterTime < 0 ? -1 : line.indexOf(space, afterTime + 1);
  if (afterStream < 0) return undefined;
  const stream = ascii(line, afterTime + 1, afterStream);
  const tag = line[afterStream + 1];
  if ((stream !== "stdout" && stream !== "stderr") || (tag !== tagF && tag !== tagP)) return undefined;
  const end = line[afterStream + 2];
  if (end !== undefined && end !== space) return undefined;
  return { time: ascii(line, 0, afterTime), stream, partial: tag === tagP, text: line.subarray(afterStream + 3) };
}

/** The same moment in UTC with nine digits, as Docker prints it; unparsable text stays as it is. */
export function utcTime(time: string): string {
  const match = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d+))?(Z|[+-]\d{2}:\d{2})$/.exec(time);
  if (match === null) return time;
  const [, seconds = "", fraction = "", zone = "Z"] = match;
  const nanos = fraction.slice(0, 9).padEnd(9, "0");
  if (zone === "Z" || zone === "+00:00" || zone === "-00:00") return `${seconds}.${nanos}Z`;
  const utcSeconds = new Date(`${seconds}${zone}`).toISOString().slice(0, 19);
  return `${utcSeconds}.${nanos}Z`;
}

function ascii(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1");
}

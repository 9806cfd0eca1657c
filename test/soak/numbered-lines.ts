export interface LineOptions {
  readonly fromStart: boolean;
  /** Lines may be missing in one place: the log of the past and the stream of the present met there. */
  readonly seam?: boolean;
}

/** What is wrong with the log of a program that counts "line 1", "line 2", ... and begins anew when it is started again. */
export function faultInLines(text: string, options: LineOptions): string | undefined {
  const lines = text.split("\n");
  const last = lines.pop();
  if (last !== "") return `it ends within a line: ${JSON.stringify(last)}`;
  let previous: number | undefined = options.fromStart ? 0 : undefined;
  let seams = options.seam === true ? 1 : 0;
  for (const line of lines) {
    const number = /^line (\d+)$/.exec(line)?.[1];
    if (number === undefined) return `${JSON.stringify(line)} is no whole line`;
    const count = Number(number);
    const isNext = previous === undefined || count === previous + 1 || count === 1;
    if (!isNext && (seams-- === 0 || count <= (previous ?? 0))) return `line ${count} follows line ${previous}`;
    previous = count;
  }
  return undefined;
}

/** What is wrong with the log of a program that counts "line 1", "line 2", ... and begins anew when it is started again. */
export function faultInLines(text: string, options: { readonly fromStart: boolean }): string | undefined {
  const lines = text.split("\n");
  const last = lines.pop();
  if (last !== "") return `it ends within a line: ${JSON.stringify(last)}`;
  let previous: number | undefined = options.fromStart ? 0 : undefined;
  for (const line of lines) {
    const number = /^line (\d+)$/.exec(line)?.[1];
    if (number === undefined) return `${JSON.stringify(line)} is no whole line`;
    const count = Number(number);
    if (previous !== undefined && count !== previous + 1 && count !== 1)
      return `line ${count} follows line ${previous}`;
    previous = count;
  }
  return undefined;
}

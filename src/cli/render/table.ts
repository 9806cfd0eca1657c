/** Rows in columns, three spaces between and none narrower than `minimum` with them, as docker prints them. */
export function renderTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  { minimum = 10 }: { readonly minimum?: number } = {},
): string {
  const lines = [headings, ...rows];
  const gap = 3;
  const widths = headings.map((_, column) =>
    Math.max(minimum, gap + Math.max(...lines.map((line) => (line[column] ?? "").length))),
  );
  return lines
    .map((line) =>
      line
        .map((cell, column) => (column === line.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
        .join("")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

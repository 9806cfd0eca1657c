import type { CliContext } from "../command.ts";
import { renderTable } from "./table.ts";
import { compileTemplate } from "./template.ts";
import { TemplateFields } from "./template-values.ts";

/** A column: its heading, the field's name in templates, and its text for a row. */
export interface Column<T> {
  readonly heading: string;
  readonly field: string;
  readonly value: (row: T) => string;
  /** Only for templates and JSON. */
  readonly hidden?: boolean;
  /** In templates the field takes an argument, as in `{{.Label "name"}}`; it is in no table and no JSON. */
  readonly lookUp?: (row: T, argument: string) => string;
}

/**
 * Prints rows as docker's list commands do: a table, one JSON object a line (`json`), or a template for each row; `table TEMPLATE`
 * prints chosen columns with headings. `berth`'s `--json` is `--format json`.
 */
export function printListing<T>(
  ctx: { readonly stdout: { write(text: string): unknown } },
  columns: readonly Column<T>[],
  rows: readonly T[],
  format: string | undefined,
): void {
  if (format === undefined || format === "table" || format === "") {
    const shown = columns.filter(({ hidden, lookUp }) => hidden !== true && lookUp === undefined);
    const cells = rows.map((row) => shown.map(({ value }) => value(row)));
    ctx.stdout.write(
      renderTable(
        shown.map(({ heading }) => heading),
        cells,
      ),
    );
    return;
  }
  const fields = (row: T) =>
    new TemplateFields(
      columns.map(({ field, value, lookUp }) => [
        field,
        lookUp === undefined ? value(row) : (argument: string) => lookUp(row, argument),
      ]),
    );
  if (format === "json") {
    for (const row of rows) ctx.stdout.write(`${JSON.stringify(fields(row))}\n`);
    return;
  }
  const table = /^table\s+(.*)$/s.exec(format);
  const template = compileTemplate(unescaped(table?.[1] ?? format));
  const lines = rows.map((row) => template(fields(row)));
  if (table === null) {
    for (const line of lines) ctx.stdout.write(`${line}\n`);
    return;
  }
  const headings = template(
    new TemplateFields(
      columns.map(({ field, heading, lookUp }) => [field, lookUp === undefined ? heading : (name: string) => name]),
    ),
  );
  ctx.stdout.write(
    renderTable(
      headings.split("\t"),
      lines.map((line) => line.split("\t")),
    ),
  );
}

/** Prints one thing by template, or as JSON. */
export function printObject(ctx: CliContext, value: unknown, format: string | undefined): void {
  if (format === undefined || format === "json")
    ctx.stdout.write(`${JSON.stringify(value, undefined, format === undefined ? 4 : undefined)}\n`);
  else ctx.stdout.write(`${compileTemplate(unescaped(format))(value)}\n`);
}

/** In the shell, '\t' and '\n' stay two characters; docker reads them as one. */
function unescaped(format: string): string {
  return format.replaceAll("\\t", "\t").replaceAll("\\n", "\n");
}

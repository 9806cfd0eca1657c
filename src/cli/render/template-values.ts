/** Values as Go's text/template sees them. */
import { cliErrors } from "../errors.ts";

/** What a row has for templates: as with a Go struct, a field that it lacks is a mistake; one may be a function of a text. */
export class TemplateFields {
  constructor(fields: readonly (readonly [string, string | ((argument: string) => string)])[]) {
    Object.assign(this, Object.fromEntries(fields));
  }

  /** `TEMPLATE_INVALID`. */
  static check(value: object, field: string): void {
    if (!(value instanceof TemplateFields) || Object.hasOwn(value, field)) return;
    const reason = `there is no field ${field} (there are ${Object.keys(value).join(", ")})`;
    throw cliErrors.TEMPLATE_INVALID({ template: `.${field}`, reason });
  }
}

/** As Go prints a value: lists in brackets, maps as `map[k:v]`, nil as `<no value>`. */
export function display(value: unknown): string {
  if (value === undefined || value === null) return "<no value>";
  if (Array.isArray(value)) return `[${value.map(display).join(" ")}]`;
  if (typeof value === "object") {
    const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${fields.map(([key, field]) => `${key}:${display(field)}`).join(" ")}]`;
  }
  return `${value as string | number | boolean}`;
}

/** Go's notion of truth: zero values and empty collections are false. */
export function isTruthy(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

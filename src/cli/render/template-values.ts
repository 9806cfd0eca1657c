/** Values as Go's text/template sees them. */

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

import { cliErrors } from "../errors.ts";

/** `--filter a=b --filter a=c` -> the JSON that the API takes; undefined when there are none. */
export function filtersQuery(filters: readonly string[]): string | undefined {
  if (filters.length === 0) return undefined;
  const values: Record<string, string[]> = {};
  for (const filter of filters) {
    const at = filter.indexOf("=");
    if (at < 1) throw cliErrors.OPTION_INVALID({ option: "filter", value: filter, reason: "name=value is needed" });
    const name = filter.slice(0, at).trim().toLowerCase();
    (values[name] ??= []).push(filter.slice(at + 1).trim());
  }
  return JSON.stringify(values);
}

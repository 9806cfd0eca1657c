import type { Static, TObject } from "typebox";
import { messageOf } from "../../../base/errors.ts";
import { apiErrors } from "../errors.ts";
import { validatorOf } from "./validate.ts";

export type RawQuery = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * Decodes a query by its schema, as Docker's handlers read theirs: booleans by word, integers by decimal, filters and
 * other JSON by their text. Parameters that the schema lacks are ignored, as Docker does.
 */
export function decodeQuery<T extends TObject>(schema: T, raw: RawQuery): Static<T> {
  const decoded: Record<string, unknown> = {};
  for (const [name, property] of propertiesOf(schema)) {
    const value = raw[name];
    const first = typeof value === "object" ? value[0] : value;
    const result = decodeParameter(name, property, first, typeof value === "object" ? value : undefined);
    if (result !== undefined) decoded[name] = result;
  }
  // Each property was decoded by its own schema's type just above.
  return decoded as Static<T>;
}

/** Docker's booleans: "", 0, no, false and none are false; everything else is true. */
export function parseFlag(value: string): boolean {
  return !falseWords.has(value.trim().toLowerCase());
}

const falseWords = new Set(["", "0", "no", "false", "none"]);

/** Decimal, with Go's words for what isn't. */
export function parseInteger(name: string, value: string): number {
  if (!/^[+-]?\d+$/.test(value)) {
    throw apiErrors.API_BAD_REQUEST({
      message: `${name}: strconv.Atoi: parsing ${JSON.stringify(value)}: invalid syntax`,
    });
  }
  const number = Number(value);
  if (!Number.isSafeInteger(number)) {
    throw apiErrors.API_BAD_REQUEST({
      message: `${name}: strconv.Atoi: parsing ${JSON.stringify(value)}: value out of range`,
    });
  }
  return number;
}

/** What a parameter's schema says, once; see `param` in `src/schema/docker/fields.ts`. */
interface ParameterSchema {
  readonly type?: string;
  readonly default?: unknown;
  readonly filters?: readonly string[];
  readonly json?: boolean;
}

const known = new WeakMap<TObject, readonly (readonly [string, ParameterSchema])[]>();

function propertiesOf(schema: TObject): readonly (readonly [string, ParameterSchema])[] {
  let properties = known.get(schema);
  if (properties === undefined) {
    properties = Object.entries<ParameterSchema>(schema.properties);
    known.set(schema, properties);
  }
  return properties;
}

function decodeParameter(
  name: string,
  schema: ParameterSchema,
  first: string | undefined,
  all: readonly string[] | undefined,
): unknown {
  if (schema.filters !== undefined) return decodeFilters(first, schema.filters);
  if (schema.json === true) return first === undefined || first === "" ? undefined : decodeJson(name, schema, first);
  if (schema.type === "array") return all ?? (first === undefined ? schema.default : [first]);
  if (first === undefined) return schema.default;
  switch (schema.type) {
    case "boolean":
      return parseFlag(first);
    case "integer":
      return first === "" ? undefined : parseInteger(name, first);
    default:
      return first;
  }
}

function decodeJson(name: string, schema: object, value: string): unknown {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch (error) {
    throw apiErrors.API_INVALID_PARAMETER({ name, value, reason: messageOf(error) });
  }
  // What Go's clients write for a list or a map that they were given none of.
  if (parsed === null) return undefined;
  const problem = validatorOf(schema).problem(parsed);
  if (problem !== undefined) {
    throw apiErrors.API_INVALID_PARAMETER({ name, value, reason: `${problem.path} ${problem.reason}`.trim() });
  }
  return parsed;
}

/** `{"name":["value"]}`, or `{"name":{"value":true}}` of older clients. Unknown names are refused, as Docker does. */
function decodeFilters(
  text: string | undefined,
  names: readonly string[],
): Readonly<Record<string, readonly string[]>> {
  if (text === undefined || text === "") return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw apiErrors.API_INVALID_PARAMETER({ name: "filters", value: text, reason: messageOf(error) });
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw apiErrors.API_INVALID_PARAMETER({ name: "filters", value: text, reason: "must be a JSON object" });
  }
  const filters: Record<string, readonly string[]> = {};
  for (const [name, values] of Object.entries<unknown>({ ...parsed })) {
    if (!names.includes(name)) throw apiErrors.API_INVALID_FILTER({ name });
    filters[name] = filterValues(name, values, text);
  }
  return filters;
}

function filterValues(name: string, values: unknown, text: string): readonly string[] {
  if (Array.isArray(values)) {
    return values.map((value: unknown) => {
      if (typeof value === "string") return value;
      throw apiErrors.API_INVALID_PARAMETER({ name: "filters", value: text, reason: `${name} must hold strings` });
    });
  }
  if (typeof values === "object" && values !== null) {
    return Object.entries<unknown>({ ...values })
      .filter(([, on]) => on === true)
      .map(([value]) => value);
  }
  throw apiErrors.API_INVALID_PARAMETER({ name: "filters", value: text, reason: `${name} must be a list` });
}

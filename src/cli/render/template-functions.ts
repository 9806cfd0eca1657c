import { display, isTruthy } from "./template-values.ts";

type Arguments = readonly unknown[];

const compare =
  (test: (order: number) => boolean) =>
  ([a, b]: Arguments): boolean =>
    test(
      typeof a === "number" && typeof b === "number"
        ? a - b
        : display(a) < display(b)
          ? -1
          : display(a) > display(b)
            ? 1
            : 0,
    );

/** The functions of Go's text/template that make sense here, and docker's own (json, join, upper, pad, ...). */
export const templateFunctions: Readonly<Record<string, (values: Arguments) => unknown>> = {
  json: ([value]) => JSON.stringify(value ?? null),
  join: ([items, separator]) => (Array.isArray(items) ? items.map(display).join(display(separator)) : display(items)),
  split: ([value, separator]) => display(value).split(display(separator)),
  upper: ([value]) => display(value).toUpperCase(),
  lower: ([value]) => display(value).toLowerCase(),
  title: ([value]) => display(value).replace(/\b\w/g, (letter) => letter.toUpperCase()),
  println: (values) => `${values.map(display).join(" ")}\n`,
  print: (values) => values.map(display).join(""),
  printf: ([format, ...values]) => printf(display(format), values),
  pad: ([value, before, after]) => " ".repeat(Number(before)) + display(value) + " ".repeat(Number(after)),
  truncate: ([value, length]) => display(value).slice(0, Number(length)),
  len: ([value]) =>
    typeof value === "string" || Array.isArray(value) ? value.length : Object.keys(value ?? {}).length,
  index: ([value, ...keys]) => keys.reduce<unknown>(indexed, value),
  slice: ([value, from, to]) =>
    (Array.isArray(value) ? value : display(value)).slice(Number(from ?? 0), to === undefined ? undefined : Number(to)),
  eq: ([first, ...others]) => others.some((other) => display(other) === display(first)),
  ne: ([a, b]) => display(a) !== display(b),
  lt: compare((order) => order < 0),
  le: compare((order) => order <= 0),
  gt: compare((order) => order > 0),
  ge: compare((order) => order >= 0),
  and: (values) => values.find((value) => !isTruthy(value)) ?? values.at(-1),
  or: (values) => values.find(isTruthy) ?? values.at(-1),
  not: ([value]) => !isTruthy(value),
};

function indexed(value: unknown, key: unknown): unknown {
  if (Array.isArray(value)) return value[Number(key)];
  return typeof value === "object" && value !== null
    ? (value as Readonly<Record<string, unknown>>)[display(key)]
    : undefined;
}

function printf(format: string, values: readonly unknown[]): string {
  let next = 0;
  return format.replace(
    /%(-?)(\d*)(?:\.(\d+))?([sdvqtfx%])/g,
    (_, left: string, width: string, precision: string | undefined, verb: string) => {
      if (verb === "%") return "%";
      const value = values[next++];
      const text =
        verb === "q"
          ? JSON.stringify(display(value))
          : verb === "f"
            ? Number(value).toFixed(Number(precision ?? 6))
            : verb === "x"
              ? Number(value).toString(16)
              : display(value);
      return left === "-" ? text.padEnd(Number(width)) : text.padStart(Number(width));
    },
  );
}

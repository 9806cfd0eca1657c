/** What the values of Docker's list filters may be. */
import { apiErrors } from "../errors.ts";

/** A filter that says yes or no: "1", "true", "0" or "false", once. */
export function filterFlag(name: string, values: readonly string[]): boolean {
  const [value = "", ...more] = values;
  if (more.length === 0 && (value === "1" || value === "true")) return true;
  if (more.length === 0 && (value === "0" || value === "false")) return false;
  throw apiErrors.API_INVALID_FILTER_VALUE({ name, value: `[${values.join(" ")}]` });
}

/**
 * A test for any of `patterns`. Docker's names and ids are matched by regular expressions, anywhere in the text; one that is none
 * stands for itself.
 */
export function anyPattern(patterns: readonly string[]): (text: string) => boolean {
  const tests = patterns.map(patternTest);
  return (text) => tests.some((matches) => matches(text));
}

function patternTest(pattern: string): (text: string) => boolean {
  try {
    const expression = new RegExp(pattern);
    return (text) => expression.test(text);
  } catch {
    return (text) => text.includes(pattern);
  }
}

/** Expressions inside `{{…}}`: fields, variables, literals, calls, parentheses and pipes. */
import { cliErrors } from "../errors.ts";
import { templateFunctions } from "./template-functions.ts";
import { TemplateFields } from "./template-values.ts";

export type Expression =
  | { readonly kind: "literal"; readonly value: unknown }
  /** A variable or `.` and the fields after it. */
  | { readonly kind: "path"; readonly root: string; readonly fields: readonly string[] }
  | { readonly kind: "fieldsOf"; readonly of: Expression; readonly fields: readonly string[] }
  | { readonly kind: "call"; readonly name: string; readonly arguments: readonly Expression[] }
  /** A field that is a function: `.Label "name"`. */
  | { readonly kind: "method"; readonly of: Expression; readonly argument: Expression };

/** What an expression is evaluated in: `.`, and `$` with the variables. */
export interface Scope {
  readonly dot: unknown;
  readonly variables: ReadonlyMap<string, unknown>;
}

type Fail = (reason: string) => Error;

/** Parses `.State.Status`, `json .Config | upper`, `index .NetworkSettings.Ports "80/tcp" 0`, `(index .A 0).B`. */
export function parseExpression(text: string, fail: Fail): Expression {
  const tokens = [
    ...text.matchAll(/"(?:\\.|[^"\\])*"|`[^`]*`|\$?\w*(?:\.\w+)+|\$\w*|-?\d+(?:\.\d+)?|\w+|[.()|]|\S/g),
  ].map(([token]) => token);
  const parser = { tokens, position: 0 };
  const expression = parsePipe(parser, fail);
  if (parser.position < tokens.length) throw fail(`unexpected "${tokens[parser.position]}"`);
  return expression;
}

interface Cursor {
  readonly tokens: readonly string[];
  position: number;
}

function parsePipe(cursor: Cursor, fail: Fail): Expression {
  let expression = parseCall(cursor, fail);
  while (cursor.tokens[cursor.position] === "|") {
    cursor.position++;
    const next = parseCall(cursor, fail);
    if (next.kind !== "call") throw fail("what follows | must be a function");
    expression = { ...next, arguments: [...next.arguments, expression] };
  }
  return expression;
}

function parseCall(cursor: Cursor, fail: Fail): Expression {
  const token = cursor.tokens[cursor.position];
  if (token === undefined) throw fail("missing value for command");
  if (!/^[a-z]\w*$/i.test(token) || ["true", "false", "nil"].includes(token)) {
    const of = parseOperand(cursor, fail);
    const next = cursor.tokens[cursor.position];
    if (of.kind !== "path" || next === undefined || !/^["`]/.test(next)) return of;
    return { kind: "method", of, argument: parseOperand(cursor, fail) };
  }
  if (!(token in templateFunctions)) throw fail(`function "${token}" not defined`);
  cursor.position++;
  const values: Expression[] = [];
  for (
    let next = cursor.tokens[cursor.position];
    next !== undefined && next !== "|" && next !== ")";
    next = cursor.tokens[cursor.position]
  )
    values.push(
      /^[a-z]\w*$/i.test(next) && next in templateFunctions ? parseBareCall(cursor) : parseOperand(cursor, fail),
    );
  return { kind: "call", name: token, arguments: values };
}

function parseBareCall(cursor: Cursor): Expression {
  return { kind: "call", name: cursor.tokens[cursor.position++] ?? "", arguments: [] };
}

function parseOperand(cursor: Cursor, fail: Fail): Expression {
  const token = cursor.tokens[cursor.position++] ?? "";
  if (token === "(") {
    const inner = parsePipe(cursor, fail);
    if (cursor.tokens[cursor.position++] !== ")") throw fail("unclosed left paren");
    const after = cursor.tokens[cursor.position];
    if (after === undefined || !/^\.\w/.test(after)) return inner;
    cursor.position++;
    return { kind: "fieldsOf", of: inner, fields: after.slice(1).split(".") };
  }
  if (token.startsWith('"')) return { kind: "literal", value: JSON.parse(token) as string };
  if (token.startsWith("`")) return { kind: "literal", value: token.slice(1, -1) };
  if (/^-?\d/.test(token)) return { kind: "literal", value: Number(token) };
  if (token === "true" || token === "false") return { kind: "literal", value: token === "true" };
  if (token === "nil") return { kind: "literal", value: null };
  if (token === ".") return { kind: "path", root: ".", fields: [] };
  if (/^\$?\w*(\.\w+)*$/.test(token) && (token.startsWith("$") || token.startsWith("."))) {
    const [root = "", ...fields] = token.split(".");
    return { kind: "path", root: root === "" ? "." : root, fields };
  }
  throw fail(`unexpected "${token}"`);
}

export function evaluate(expression: Expression, scope: Scope): unknown {
  switch (expression.kind) {
    case "literal":
      return expression.value;
    case "path": {
      const root = expression.root === "." ? scope.dot : scope.variables.get(expression.root);
      return follow(root, expression.fields);
    }
    case "fieldsOf":
      return follow(evaluate(expression.of, scope), expression.fields);
    case "method": {
      const method = evaluate(expression.of, scope);
      if (typeof method !== "function") {
        throw cliErrors.TEMPLATE_INVALID({ template: "", reason: "only a field that is a function takes an argument" });
      }
      return method(evaluate(expression.argument, scope)) as unknown;
    }
    case "call":
      return templateFunctions[expression.name]?.(expression.arguments.map((argument) => evaluate(argument, scope)));
  }
}

function follow(value: unknown, fields: readonly string[]): unknown {
  let current = value;
  for (const field of fields) {
    if (typeof current !== "object" || current === null) return undefined;
    TemplateFields.check(current, field);
    current = (current as Readonly<Record<string, unknown>>)[field];
  }
  return current;
}

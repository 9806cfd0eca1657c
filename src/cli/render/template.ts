/**
 * The part of Go's text/template that people write after `--format`: fields, pipes, `json`, `index`, `range`, `if`, `with`, `printf`, ...
 * A template is parsed to a function from data to text. See pkg.go.dev/text/template and docker's "Format command output" page.
 */
import { cliErrors } from "../errors.ts";
import { type Expression, evaluate, parseExpression, type Scope } from "./template-expression.ts";
import { display, isTruthy } from "./template-values.ts";

export type Template = (data: unknown) => string;

type Node =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "output"; readonly expression: Expression }
  | { readonly kind: "assign"; readonly name: string; readonly expression: Expression }
  | {
      readonly kind: "branch";
      readonly word: "if" | "with";
      readonly test: Expression;
      readonly whenTrue: readonly Node[];
      readonly otherwise: readonly Node[];
    }
  | {
      readonly kind: "range";
      readonly variables: readonly string[];
      readonly over: Expression;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    };

/** Compiles a template. `TEMPLATE_INVALID` says what is wrong with it. */
export function compileTemplate(source: string): Template {
  const parser = new Parser(source);
  const nodes = parser.parseNodes([]);
  return (data) => render(nodes, { dot: data, variables: new Map([["$", data]]) });
}

interface Piece {
  readonly action: boolean;
  readonly text: string;
}

class Parser {
  readonly #source: string;
  readonly #pieces: readonly Piece[];
  #position = 0;
  /** The word that ended the last list of nodes. */
  #ended = "";

  constructor(source: string) {
    this.#source = source;
    this.#pieces = split(source);
  }

  parseNodes(endings: readonly string[]): readonly Node[] {
    const nodes: Node[] = [];
    for (;;) {
      const piece = this.#pieces[this.#position++];
      if (piece === undefined) {
        if (endings.length > 0) throw this.#invalid("unexpected EOF: {{end}} is missing");
        return nodes;
      }
      if (!piece.action) {
        if (piece.text !== "") nodes.push({ kind: "text", text: piece.text });
        continue;
      }
      const word = /^\w+/.exec(piece.text)?.[0] ?? "";
      if (word === "end" || word === "else") {
        if (!endings.includes(word)) throw this.#invalid(`unexpected {{${word}}}`);
        this.#ended = piece.text;
        return nodes;
      }
      if (!piece.text.startsWith("/*")) nodes.push(this.#parseAction(piece.text, word));
    }
  }

  #parseAction(text: string, word: string): Node {
    const rest = text.slice(word.length).trim();
    if (word === "if" || word === "with") return this.#parseBranch(word, rest);
    if (word === "range") return this.#parseRange(rest);
    const assignment = /^\$(\w+)\s*:?=\s*(.+)$/s.exec(text);
    if (assignment?.[1] !== undefined && assignment[2] !== undefined)
      return { kind: "assign", name: `$${assignment[1]}`, expression: this.#expression(assignment[2]) };
    return { kind: "output", expression: this.#expression(text) };
  }

  #parseBranch(word: "if" | "with", test: string): Node {
    const whenTrue = this.parseNodes(["else", "end"]);
    let otherwise: readonly Node[] = [];
    if (this.#ended.startsWith("else")) {
      const chained = /^else\s+if\s+(.+)$/s.exec(this.#ended);
      otherwise = chained?.[1] === undefined ? this.parseNodes(["end"]) : [this.#parseBranch("if", chained[1])];
    }
    return { kind: "branch", word, test: this.#expression(test), whenTrue, otherwise };
  }

  #parseRange(text: string): Node {
    const named = /^((?:\$\w+\s*,\s*)?\$\w+)\s*:=\s*(.+)$/s.exec(text);
    const variables = named?.[1]?.split(",").map((name) => name.trim()) ?? [];
    const over = this.#expression(named?.[2] ?? text);
    const body = this.parseNodes(["else", "end"]);
    const otherwise = this.#ended.startsWith("else") ? this.parseNodes(["end"]) : [];
    return { kind: "range", variables, over, body, otherwise };
  }

  #expression(text: string): Expression {
    return parseExpression(text, (reason) => this.#invalid(reason));
  }

  #invalid(reason: string): Error {
    return cliErrors.TEMPLATE_INVALID({ template: this.#source, reason });
  }
}

/** Cuts the source into text and actions; `{{-` and `-}}` trim the text beside them. */
function split(source: string): readonly Piece[] {
  const pieces: { action: boolean; text: string }[] = [];
  let trimNext = false;
  let position = 0;
  for (const match of source.matchAll(/\{\{(-(?=\s))?((?:"(?:\\.|[^"\\])*"|`[^`]*`|[^"`])*?)((?<=\s)-)?\}\}/gs)) {
    let before = source.slice(position, match.index);
    if (trimNext) before = before.trimStart();
    if (match[1] !== undefined) before = before.trimEnd();
    pieces.push({ action: false, text: before }, { action: true, text: (match[2] ?? "").trim() });
    trimNext = match[3] !== undefined;
    position = match.index + match[0].length;
  }
  const rest = source.slice(position);
  if (rest.includes("{{")) throw cliErrors.TEMPLATE_INVALID({ template: source, reason: "unclosed action" });
  pieces.push({ action: false, text: trimNext ? rest.trimStart() : rest });
  return pieces;
}

function render(nodes: readonly Node[], outer: Scope): string {
  const variables = new Map(outer.variables);
  const scope: Scope = { dot: outer.dot, variables };
  let text = "";
  for (const node of nodes) {
    if (node.kind === "assign") variables.set(node.name, evaluate(node.expression, scope));
    else text += renderNode(node, scope);
  }
  return text;
}

function renderNode(node: Exclude<Node, { kind: "assign" }>, scope: Scope): string {
  switch (node.kind) {
    case "text":
      return node.text;
    case "output":
      return display(evaluate(node.expression, scope));
    case "branch": {
      const value = evaluate(node.test, scope);
      if (!isTruthy(value)) return render(node.otherwise, scope);
      return render(node.whenTrue, node.word === "with" ? { ...scope, dot: value } : scope);
    }
    case "range": {
      const over = evaluate(node.over, scope);
      // Go visits a map's keys in order.
      const entries: [unknown, unknown][] = Array.isArray(over)
        ? [...over.entries()]
        : Object.entries(over ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
      if (entries.length === 0) return render(node.otherwise, scope);
      return entries.map(([key, value]) => render(node.body, rangeScope(scope, node.variables, key, value))).join("");
    }
  }
}

function rangeScope(scope: Scope, names: readonly string[], key: unknown, value: unknown): Scope {
  const variables = new Map(scope.variables);
  const [first, second] = names;
  if (first !== undefined && second !== undefined) variables.set(first, key).set(second, value);
  else if (first !== undefined) variables.set(first, value);
  return { dot: value, variables };
}

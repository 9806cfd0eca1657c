/**
 * A strict reader of XML 1.0 with namespaces, for documents from strangers: no document types and so no entities but the five of XML
 * itself, nothing from elsewhere, bounded in size, depth and number. What is not well formed is refused, never mended.
 */
import { ovfErrors } from "./errors.ts";

export interface XmlElement {
  /** Namespace name, "" for none. */
  readonly namespace: string;
  /** Local name. */
  readonly name: string;
  /** By "{namespace}name", or the plain name of those without a prefix. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** All character data directly inside, joined. */
  readonly text: string;
}

const limits = { bytes: 2 * 1024 * 1024, depth: 40, elements: 20_000, attributes: 200 };
const nameStart = "A-Za-z_\\u00c0-\\u02ff\\u0370-\\u1fff\\u2070-\\u218f\\u3001-\\ud7ff";
const qualifiedName = new RegExp(
  `[${nameStart}][${nameStart}0-9.\\-\\u00b7]*(?::[${nameStart}][${nameStart}0-9.\\-\\u00b7]*)?`,
  "y",
);
const space = /[ \t\r\n]*/y;
const entities: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", apos: "'", quot: '"' };

/** The root element of a document. `OVF_INVALID` says where it is wrong. */
export function readXml(bytes: Uint8Array): XmlElement {
  if (bytes.length > limits.bytes) throw invalid(`it has more than ${limits.bytes} bytes`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch (error) {
    throw ovfErrors.OVF_INVALID({ reason: "it is not in UTF-8" }, { cause: error });
  }
  // oxlint-disable-next-line no-control-regex -- what XML has no characters for
  const control = text.search(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/);
  if (control >= 0) throw invalid(`line ${lineOf(text, control)}: a control character`);
  return new Reader(text.replaceAll(/\r\n?/g, "\n")).document();
}

/** The value of an attribute of this namespace ("" for none). */
export function attribute(element: XmlElement, namespace: string, name: string): string | undefined {
  return element.attributes.get(namespace === "" ? name : `{${namespace}}${name}`);
}

type Namespaces = ReadonlyMap<string, string>;

interface Draft {
  readonly element: {
    namespace: string;
    name: string;
    attributes: Map<string, string>;
    children: XmlElement[];
    text: string;
  };
  readonly tag: string;
  readonly namespaces: Namespaces;
}

class Reader {
  readonly #text: string;
  #at = 0;
  #elements = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): XmlElement {
    if (this.#text.startsWith("<?xml ")) this.#instruction();
    this.#misc();
    const open: Draft[] = [];
    let root: XmlElement | undefined;
    do {
      const closed = this.#step(open);
      if (closed !== undefined && open.length === 0) root = closed;
    } while (open.length > 0);
    this.#misc();
    if (root === undefined || this.#at < this.#text.length) throw this.#wrong("there is more than one root element");
    return root;
  }

  /** The next piece of content; the element when one has ended. */
  #step(open: Draft[]): XmlElement | undefined {
    const parent = open.at(-1);
    if (parent !== undefined && !this.#looks("<")) {
      const end = this.#text.indexOf("<", this.#at);
      if (end < 0) throw this.#wrong(`<${parent.tag}> is not closed`);
      parent.element.text += this.#characters(this.#text.slice(this.#at, end));
      this.#at = end;
      return undefined;
    }
    if (this.#looks("<!--")) return this.#comment();
    if (this.#looks("<![CDATA[") && parent !== undefined) {
      this.#at += "<![CDATA[".length;
      parent.element.text += this.#until("]]>");
      return undefined;
    }
    if (this.#looks("<!")) throw this.#wrong("a document type: it could name entities and files");
    if (this.#looks("<?")) return this.#instruction();
    if (this.#looks("</")) return this.#close(open);
    return this.#open(open);
  }

  #open(open: Draft[]): XmlElement | undefined {
    this.#expect("<");
    if (++this.#elements > limits.elements) throw this.#wrong(`more than ${limits.elements} elements`);
    if (open.length >= limits.depth) throw this.#wrong(`elements more than ${limits.depth} deep`);
    const tag = this.#name();
    const raw = this.#attributes();
    const namespaces = declared(open.at(-1)?.namespaces ?? new Map(), raw);
    const attributes = new Map<string, string>();
    for (const [name, value] of raw) {
      if (name === "xmlns" || name.startsWith("xmlns:")) continue;
      const [prefix, local] = split(name);
      const key = prefix === "" ? local : `{${this.#resolve(prefix, namespaces)}}${local}`;
      if (attributes.has(key)) throw this.#wrong(`the attribute ${name} twice`);
      attributes.set(key, value);
    }
    const [prefix, name] = split(tag);
    const namespace = prefix === "" ? (namespaces.get("") ?? "") : this.#resolve(prefix, namespaces);
    const element = { namespace, name, attributes, children: [], text: "" };
    open.at(-1)?.element.children.push(element);
    if (this.#looks("/>")) {
      this.#at += 2;
      return element;
    }
    this.#expect(">");
    open.push({ element, tag, namespaces });
    return undefined;
  }

  #close(open: Draft[]): XmlElement | undefined {
    this.#at += 2;
    const tag = this.#name();
    this.#skipSpace();
    this.#expect(">");
    const draft = open.pop();
    if (draft?.tag !== tag)
      throw this.#wrong(`</${tag}> where ${draft === undefined ? "nothing" : `</${draft.tag}>`} is expected`);
    return draft.element;
  }

  #attributes(): ReadonlyMap<string, string> {
    const attributes = new Map<string, string>();
    for (;;) {
      const before = this.#at;
      this.#skipSpace();
      if (this.#looks(">") || this.#looks("/>")) return attributes;
      if (this.#at === before) throw this.#wrong("an attribute without a space before it");
      const name = this.#name();
      this.#skipSpace();
      this.#expect("=");
      this.#skipSpace();
      const quote = this.#looks('"') ? '"' : "'";
      this.#expect(quote);
      const value = this.#until(quote);
      if (value.includes("<")) throw this.#wrong(`"<" in the attribute ${name}`);
      if (attributes.has(name)) throw this.#wrong(`the attribute ${name} twice`);
      if (attributes.size >= limits.attributes) throw this.#wrong(`more than ${limits.attributes} attributes`);
      attributes.set(name, this.#characters(value.replaceAll(/[\t\n]/g, " ")));
    }
  }

  /** Comments, instructions and space, outside of the root. */
  #misc(): void {
    for (;;) {
      this.#skipSpace();
      if (this.#looks("<!--")) this.#comment();
      else if (this.#looks("<?")) this.#instruction();
      else return;
    }
  }

  #comment(): undefined {
    this.#at += 4;
    if (this.#until("--", false).includes("--")) throw this.#wrong("a comment");
    this.#expect("-->");
  }

  #instruction(): undefined {
    this.#at += 2;
    this.#until("?>");
  }

  /** Character data with its references resolved. */
  #characters(raw: string): string {
    if (raw.includes("]]>")) throw this.#wrong('"]]>"');
    return raw.replaceAll(/&([^;&]{0,12});?/g, (whole, name: string) => {
      const known = whole.endsWith(";") ? (entities[name] ?? this.#reference(name)) : undefined;
      if (known === undefined) throw this.#wrong(`the unknown entity ${JSON.stringify(whole)}`);
      return known;
    });
  }

  #reference(name: string): string | undefined {
    const digits = /^#(?:x([0-9A-Fa-f]{1,6})|([0-9]{1,7}))$/.exec(name);
    if (digits === null) return undefined;
    const code = digits[1] === undefined ? Number(digits[2]) : Number.parseInt(digits[1], 16);
    const isCharacter =
      code === 9 ||
      code === 10 ||
      code === 13 ||
      (code >= 0x20 && code < 0xd800) ||
      (code >= 0xe000 && code < 0xfffe) ||
      (code >= 0x10000 && code <= 0x10ffff);
    return isCharacter ? String.fromCodePoint(code) : undefined;
  }

  #resolve(prefix: string, namespaces: Namespaces): string {
    if (prefix === "xml") return "http://www.w3.org/XML/1998/namespace";
    const namespace = namespaces.get(prefix);
    if (namespace === undefined || namespace === "") throw this.#wrong(`the prefix ${prefix} stands for nothing`);
    return namespace;
  }

  #name(): string {
    qualifiedName.lastIndex = this.#at;
    const match = qualifiedName.exec(this.#text);
    if (match === null) throw this.#wrong("a name is expected");
    this.#at += match[0].length;
    return match[0];
  }

  #skipSpace(): void {
    space.lastIndex = this.#at;
    this.#at += space.exec(this.#text)?.[0].length ?? 0;
  }

  #looks(token: string): boolean {
    return this.#text.startsWith(token, this.#at);
  }

  #expect(token: string): void {
    if (!this.#looks(token)) throw this.#wrong(`${JSON.stringify(token)} is expected`);
    this.#at += token.length;
  }

  #until(token: string, consume = true): string {
    const end = this.#text.indexOf(token, this.#at);
    if (end < 0) throw this.#wrong(`${JSON.stringify(token)} is missing`);
    const found = this.#text.slice(this.#at, end);
    this.#at = consume ? end + token.length : end;
    return found;
  }

  #wrong(what: string): Error {
    return invalid(`line ${lineOf(this.#text, this.#at)}: ${what}`);
  }
}

function declared(outer: Namespaces, raw: ReadonlyMap<string, string>): Namespaces {
  const declarations = [...raw].filter(([name]) => name === "xmlns" || name.startsWith("xmlns:"));
  if (declarations.length === 0) return outer;
  return new Map([
    ...outer,
    ...declarations.map(([name, value]): [string, string] => [name.slice("xmlns:".length), value]),
  ]);
}

function split(name: string): readonly [prefix: string, local: string] {
  const colon = name.indexOf(":");
  return colon < 0 ? ["", name] : [name.slice(0, colon), name.slice(colon + 1)];
}

function lineOf(text: string, at: number): number {
  return text.slice(0, at).split("\n").length;
}

function invalid(reason: string): Error {
  return ovfErrors.OVF_INVALID({ reason });
}

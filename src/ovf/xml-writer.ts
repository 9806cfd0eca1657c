/** A piece of an XML document: an element, or text in one. */
export type XmlNode = string | XmlTag;

export interface XmlTag {
  /** With its prefix. */
  readonly tag: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlNode[];
}

export function xml(
  tag: string,
  attributes: Readonly<Record<string, string>>,
  ...children: readonly XmlNode[]
): XmlTag {
  return { tag, attributes, children };
}

/** The document, indented by two. Characters that XML has no place for are left out. */
export function writeXml(root: XmlTag): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${render(root, "")}`;
}

function render({ tag, attributes, children }: XmlTag, indent: string): string {
  const words = Object.entries(attributes).map(([name, value]) => ` ${name}="${escape(value)}"`);
  const start = `${indent}<${tag}${words.join("")}`;
  if (children.length === 0) return `${start}/>\n`;
  if (children.every((child) => typeof child === "string")) return `${start}>${escape(children.join(""))}</${tag}>\n`;
  const inside = children.map((child) => (typeof child === "string" ? escape(child) : render(child, `${indent}  `)));
  return `${start}>\n${inside.join("")}${indent}</${tag}>\n`;
}

function escape(text: string): string {
  return (
    text
      .toWellFormed()
      // oxlint-disable-next-line no-control-regex -- what XML has no characters for
      .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "")
      .replaceAll(/[<>&"\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`)
  );
}

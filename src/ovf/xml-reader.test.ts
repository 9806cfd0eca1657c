import { describe, expect, it } from "vitest";
import { attribute, readXml } from "./xml-reader.ts";
import { writeXml, xml } from "./xml-writer.ts";

const read = (text: string) => readXml(Buffer.from(text));

describe("readXml", () => {
  it("reads elements, text, attributes and namespaces", () => {
    const root = read(
      '\ufeff<?xml version="1.0"?>\n<!-- a --><a:x xmlns:a="urn:a" xmlns="urn:b" a:k="1" k=\'&lt;&#x41;&#66;\'>one<y/>two<![CDATA[<&>]]><?p q?></a:x>\n',
    );
    expect(root).toMatchObject({ namespace: "urn:a", name: "x", text: "onetwo<&>" });
    expect(root.children).toMatchObject([{ namespace: "urn:b", name: "y" }]);
    expect(attribute(root, "urn:a", "k")).toBe("1");
    expect(attribute(root, "", "k")).toBe("<AB");
  });

  it("lets a namespace be another inside", () => {
    const root = read('<x xmlns="urn:a"><x xmlns="urn:b"/><x xmlns=""/><x/></x>');
    expect(root.children.map(({ namespace }) => namespace)).toEqual(["urn:b", "", "urn:a"]);
  });

  it.each([
    ["a document type", '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', /document type/],
    ["an unknown entity", "<x>&nbsp;</x>", /unknown entity/],
    ["a bare ampersand", "<x>a & b</x>", /unknown entity/],
    ["a reference to no character", "<x>&#0;</x>", /unknown entity/],
    ["an element that is not closed", "<x><y></x>", /<\/y>/],
    ["the end in a tag", "<x a=", /expected/],
    ["an element without an end", "<x>text", /not closed/],
    ["two roots", "<x/><y/>", /more than one root/],
    ["text outside", "<x/>text", /more than one root/],
    ["an attribute twice", '<x a="1" a="2"/>', /twice/],
    ["an attribute twice by other prefixes", '<x xmlns:a="u" xmlns:b="u" a:k="1" b:k="2"/>', /twice/],
    ["an unknown prefix", "<a:x/>", /stands for nothing/],
    ["an attribute without quotes", "<x a=1/>", /expected/],
    ["< in an attribute", '<x a="<"/>', /"<" in/],
    ["a control character", "<x>\u0001</x>", /control character/],
    ["nothing", "", /expected/],
    ["depth", "<x>".repeat(100), /deep/],
    ["number", `<x>${"<y/>".repeat(20_001)}</x>`, /more than 20000 elements/],
    ["size", `<x>${" ".repeat(3 * 1024 * 1024)}</x>`, /bytes/],
  ])("refuses %s", (_, text, message) => {
    expect(() => read(text)).toThrow(
      expect.objectContaining({ code: "OVF_INVALID", message: expect.stringMatching(message) }),
    );
  });

  it("refuses what is not UTF-8", () => {
    expect(() => readXml(Buffer.from("<x>\u00ff</x>", "latin1"))).toThrow(/UTF-8/);
    expect(() => readXml(Buffer.from("<x/>", "utf16le"))).toThrow(expect.objectContaining({ code: "OVF_INVALID" }));
  });

  it("takes no longer for what is made to take long", () => {
    const started = performance.now();
    expect(() => read(`<x>${"&".repeat(1_000_000)}</x>`)).toThrow(/entity/);
    expect(() => read(`<x ${"a ".repeat(100_000)}/>`)).toThrow(/expected/);
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

describe("writeXml", () => {
  it("is read back as what was written", () => {
    const nasty = "a <b> & \"c\" 'd' ]]>\n\t😀\u0001\ud800";
    const root = readXml(Buffer.from(writeXml(xml("x", { k: nasty }, xml("y", {}, nasty), xml("z", {})))));
    const kept = nasty.replace("\u0001", "").toWellFormed();
    expect(attribute(root, "", "k")).toBe(kept);
    expect(root.children.map(({ name, text }) => [name, text])).toEqual([
      ["y", kept],
      ["z", ""],
    ]);
  });
});

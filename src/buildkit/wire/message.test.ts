import { expect, it } from "vitest";
import { bytes, count, flag, integer, list, listOf, map, message, nested, text } from "./message.ts";

const Inner = message({ name: [1, text], size: [2, integer] });
const Outer = message({
  title: [1, text],
  on: [2, flag],
  number: [3, count],
  raw: [4, bytes],
  words: [5, list(text)],
  inner: [6, nested(Inner)],
  inners: [7, listOf(Inner)],
  labels: [8, map(text)],
});

it("writes what Protocol Buffers' encoding says", () => {
  // From the specification: field 1 as text "testing", field 3 as the varint 150.
  expect(Buffer.from(Outer.encode({ title: "testing", number: 150 })).toString("hex")).toBe("0a0774657374696e67189601");
});

it("reads back what it wrote, and defaults for what was not there", () => {
  const value = {
    title: "é",
    on: true,
    number: 7,
    raw: new Uint8Array([1, 2]),
    words: ["", "a"],
    inner: { name: "", size: -1 },
    inners: [{ name: "x", size: 2 ** 40 }],
    labels: { __proto__x: "1", "": "" },
  };
  const decoded = Outer.decode(Outer.encode(value));
  expect({ ...decoded, raw: [...decoded.raw], labels: { ...decoded.labels } }).toEqual({ ...value, raw: [1, 2] });
  expect(Outer.decode(new Uint8Array())).toMatchObject({ title: "", on: false, words: [], inner: undefined });
});

it("keeps a hostile key of a map to itself", () => {
  const { labels } = Outer.decode(Outer.encode({ labels: JSON.parse('{"__proto__":"x"}') }));
  expect(Object.entries(labels)).toEqual([["__proto__", "x"]]);
  expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
});

it("skips fields that it doesn't know, and those of another wire type", () => {
  const Newer = message({ title: [1, count], extra: [99, text], words: [5, list(text)] });
  expect(Outer.decode(Newer.encode({ title: 5, extra: "?", words: ["w"] }))).toMatchObject({ title: "", words: ["w"] });
});

it.each(["0aff", "0a0561", "ff", "1880808080808080808080ff"])("refuses the broken bytes %s", (hex) => {
  expect(() => Outer.decode(Buffer.from(hex, "hex"))).toThrow(/can't be read/);
});

import { expect, it } from "vitest";
import { definitionOf, imageOfDefinition } from "./result-definition.ts";
import { Definition, Op } from "./wire/graph.ts";

const id = `sha256:${"a".repeat(64)}`;

it("finds the image in what it made of it", () => {
  expect(imageOfDefinition(Definition.encode(definitionOf(id)), "base")).toBe(id);
});

it.each([
  ["nothing", []],
  ["another source", [Op.encode({ source: { identifier: "docker-image://busybox" } }), Op.encode({})]],
  ["no id", [Op.encode({ source: { identifier: "berth-image://../../x" } }), Op.encode({})]],
  ["more than a source", [...(definitionOf(id).def ?? []), Op.encode({})]],
])("refuses a graph of %s by the input's name", (_what, def) => {
  expect(() => imageOfDefinition(Definition.encode({ def }), "base")).toThrow(/graph \(LLB\) as the input base/);
});

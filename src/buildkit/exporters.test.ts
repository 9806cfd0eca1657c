import { expect, it } from "vitest";
import { exportTargets } from "./exporters.ts";
import { SolveRequest } from "./wire/control.ts";

const targets = (...exporters: readonly [type: string, attributes?: Readonly<Record<string, string>>][]) =>
  exportTargets({
    ...SolveRequest.decode(new Uint8Array()),
    Exporters: exporters.map(([Type, Attrs = {}]) => ({ Type, Attrs })),
  });

it("makes no image without an output", () => {
  expect(targets()).toEqual([]);
});

it("takes an older client's only output", () => {
  const request = {
    ...SolveRequest.decode(new Uint8Array()),
    ExporterDeprecated: "image",
    ExporterAttrsDeprecated: { name: "a,b" },
  };
  expect(exportTargets(request)).toEqual([{ kind: "image", names: ["a", "b"], push: false }]);
});

it("counts the outputs as the client does", () => {
  expect(targets(["image", { name: "x", load: "true" }], ["local"], ["oci", { name: "x,y", tar: "true" }])).toEqual([
    { kind: "image", names: ["x"], push: false },
    { kind: "client", format: "local", exporter: 1, names: [] },
    { kind: "client", format: "oci", exporter: 2, names: ["x", "y"] },
  ]);
});

it("pushes what no client pushes itself", () => {
  expect(targets(["moby", { name: "x", push: "true" }])).toMatchObject([{ push: false }]);
  expect(targets(["image", { name: "x", push: "true" }])).toMatchObject([{ push: true }]);
  expect(() => targets(["image", { push: "true" }])).toThrow(/tag is needed/);
});

it.each([
  ["image", { compression: "zstd" }],
  ["moby", { "annotation.a": "b" }],
  ["image", { "push-by-digest": "true" }],
  ["local", { "platform-split": "true" }],
  ["oci", { tar: "false" }],
  ["tar", { toString: "x" }],
  ["registry-of-the-future", {}],
] as const)("refuses type=%s with %j by name", (type, attributes) => {
  expect(() => targets([type, attributes])).toThrow(new RegExp(`type=${type}`));
});

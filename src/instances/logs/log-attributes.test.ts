import { describe, expect, it } from "vitest";
import { instanceSpec } from "../fake/instance-spec.ts";
import { logAttributes, unknownTagField } from "./log-attributes.ts";

const attributesWith = (options: Record<string, string>) => {
  const spec = instanceSpec([], {
    image: "busybox",
    labels: { foo: "1", zed: "2" },
    process: { env: ["ENX=a=b", "PATH=/bin"] },
    log: { driver: "json-file", options },
  });
  return logAttributes({ id: "0123456789abcdef", name: "web", imageId: `sha256:${"c".repeat(64)}`, spec });
};

describe("logAttributes", () => {
  it("takes labels and variables by name and by pattern, sorted", () => {
    expect(attributesWith({ labels: "zed,nosuch", "env-regex": "^EN" })).toEqual([
      ["ENX", "a=b"],
      ["zed", "2"],
    ]);
    expect(attributesWith({ "labels-regex": "^f", env: "PATH" })).toEqual([
      ["PATH", "/bin"],
      ["foo", "1"],
    ]);
    expect(attributesWith({})).toEqual([]);
  });

  it("expands the tag", () => {
    expect(attributesWith({ tag: "{{.Name}}/{{ .ID }}/{{.ImageName}}/{{.ImageID}}" })).toEqual([
      ["tag", "web/0123456789ab/busybox/cccccccccccc"],
    ]);
  });

  it("finds what a tag can't have", () => {
    expect(unknownTagField("{{.Name}}-{{.FullID}}")).toBeUndefined();
    expect(unknownTagField("{{.Name}}-{{.Nope}}")).toBe("{{.Nope}}");
    expect(unknownTagField("{{.Name")).toBe("{{.Name");
  });
});

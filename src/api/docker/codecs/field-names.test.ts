import { Type } from "typebox";
import { expect, test } from "vitest";
import { CreateContainerBody } from "../../../schema/docker/container.ts";
import { settleFieldNames } from "./field-names.ts";

test("fields are found whatever their case, down to records and lists; keys of maps stay as they are", () => {
  const body = {
    image: "busybox",
    hostConfig: { networkmode: "none", devices: [{ pathOnHost: "/dev/null" }], Sysctls: { "Net.X": "1" } },
    NetworkingConfig: { endpointsConfig: { Mine: { aliases: ["a"] } } },
    labels: { image: "mine" },
    unknown: 1,
  };
  settleFieldNames(CreateContainerBody, body);
  expect(body).toEqual({
    Image: "busybox",
    HostConfig: { NetworkMode: "none", Devices: [{ PathOnHost: "/dev/null" }], Sysctls: { "Net.X": "1" } },
    NetworkingConfig: { EndpointsConfig: { Mine: { Aliases: ["a"] } } },
    Labels: { image: "mine" },
    unknown: 1,
  });
});

test("a field by its own name wins, and what is no object is left alone", () => {
  const schema = Type.Object({ Name: Type.String() });
  const both = { name: "b", Name: "a" };
  settleFieldNames(schema, both);
  expect(both).toEqual({ Name: "a" });
  for (const value of [null, "text", 1, [1]]) settleFieldNames(schema, value);
});

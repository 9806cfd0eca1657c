import { expect, it } from "vitest";
import { unlimited } from "../../schema/resources.ts";
import { instanceSpec, type SpecOverrides } from "../fake/instance-spec.ts";
import { refuseUnsupported } from "./unsupported.ts";

const network = instanceSpec([]).network;
const namespaces = instanceSpec([]).namespaces;

it("has nothing against what a container has by default, nor against a tmpfs", () => {
  refuseUnsupported(instanceSpec(["true"], { mounts: [{ type: "tmpfs", target: "/x", options: [] }] }));
});

it.each<[string, SpecOverrides]>([
  [
    "binds and volumes",
    {
      mounts: [
        {
          type: "bind",
          source: "/a",
          target: "/b",
          readOnly: false,
          propagation: "rprivate",
          createSource: true,
        },
      ],
    },
  ],
  ["devices", { devices: [{ pathOnHost: "/dev/null", pathInContainer: "/dev/x", permissions: "r" }] }],
  ["the host's network", { network: { ...network, mode: "host" } }],
  ["another instance's network", { network: { ...network, mode: "container:x" } }],
  ["a namespace of the host or of another instance", { namespaces: { ...namespaces, pid: "host" } }],
  ["a namespace of the host or of another instance", { namespaces: { ...namespaces, ipc: "container:x" } }],
  ["an init of Berth's", { process: { init: true } }],
  ["a seccomp profile", { security: { seccomp: "{}" } }],
  ["a limit of processes", { resources: { ...unlimited, pidsLimit: 5 } }],
  ["less than 64 MiB of memory", { resources: { ...unlimited, memory: 8 * 1024 * 1024 } }],
])("refuses %s by name", (what, overrides) => {
  expect(() => refuseUnsupported(instanceSpec(["true"], overrides))).toThrow(`a virtual machine can't have ${what}`);
});

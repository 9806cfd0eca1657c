import { expect, it } from "vitest";
import { instanceSpec, type SpecOverrides } from "../fake/instance-spec.ts";
import { refuseUnsupported } from "./unsupported.ts";

const network = instanceSpec([]).network;
const namespaces = instanceSpec([]).namespaces;

const bind = { type: "bind", source: "/a", target: "/b", readOnly: false, createSource: true } as const;

it("has nothing against what a container has by default, nor against mounts", () => {
  const tmpfs = { type: "tmpfs" as const, target: "/x", options: [] };
  refuseUnsupported(instanceSpec(["true"], { mounts: [tmpfs, { ...bind, propagation: "rslave" }] }));
});

it.each<[string, SpecOverrides]>([
  ["a bind with shared propagation", { mounts: [{ ...bind, propagation: "rshared" }] }],
  ["devices", { devices: [{ pathOnHost: "/dev/null", pathInContainer: "/dev/x", permissions: "r" }] }],
  ["the host's network", { network: { ...network, mode: "host" } }],
  ["another instance's network", { network: { ...network, mode: "container:x" } }],
  ["a namespace of the host or of another instance", { namespaces: { ...namespaces, pid: "host" } }],
  ["a namespace of the host or of another instance", { namespaces: { ...namespaces, ipc: "container:x" } }],
  ["an IPC namespace that others join", { namespaces: { ...namespaces, ipc: "shareable" } }],
  ["a seccomp profile", { security: { seccomp: "{}" } }],
])("refuses %s by name", (what, overrides) => {
  expect(() => refuseUnsupported(instanceSpec(["true"], overrides))).toThrow(`a virtual machine can't have ${what}`);
});

import { expect, it } from "vitest";
import { frontendOptions } from "./frontend-options.ts";

const host = { os: "linux", architecture: "amd64" };
const read = (attributes: Readonly<Record<string, string>>) => frontendOptions(attributes, [], host);

it("reads what docker build's options come to", () => {
  const { build, ...files } = read({
    filename: "sub/Dockerfile",
    target: "two",
    "build-arg:A": "1",
    "label:b": "c",
    "no-cache": "",
    platform: "linux/amd64",
    "image-resolve-mode": "pull",
    "add-hosts": "one=10.0.0.1,two=::1",
    ulimit: "nofile=10:20,core=5",
    "shm-size": "1024",
    "force-network-mode": "none",
    "vcs:revision": "x",
    "attest:provenance": "mode=min,inline-only=true",
  });
  expect(files).toEqual({
    dockerfile: "sub/Dockerfile",
    dockerfileDirectory: "dockerfile",
    contextDirectory: "context",
    remote: "",
    namedContexts: {},
  });
  expect(build).toMatchObject({
    target: "two",
    buildArgs: { A: "1" },
    labels: { b: "c" },
    noCache: true,
    pull: true,
    platform: host,
    extraHosts: ["one:10.0.0.1", "two:::1"],
    ulimits: [
      { name: "nofile", soft: 10, hard: 20 },
      { name: "core", soft: 5, hard: 5 },
    ],
    shmSize: 1024,
    networkMode: "none",
  });
});

it.each([
  [{ requestid: "frontend.lint" }, /frontend\.lint/],
  [{ platform: "linux/amd64,linux/arm64" }, /several platforms/],
  [{ "attest:sbom": "generator=x" }, /--sbom/],
  [{ "context:base": "input:base" }, /build context base=input:base/],
  [{ "context:base": "oci-layout://base@sha256:1" }, /build context base=oci-layout/],
  [{ "context:base::linux/arm64": "docker-image://x" }, /for one platform/],
  [{ "frontend.caps": "moby.buildkit.frontend.future" }, /frontend\.future/],
  [{ "build-arg:BUILDKIT_SYNTAX": "someone/else" }, /someone\/else/],
  [{ "cgroup-parent": "/x" }, /--cgroup-parent/],
  [{ hostname: "builder" }, /hostname/],
  [{ ulimit: "nofile" }, /invalid value "nofile"/],
])("refuses %j by name", (attributes, reason) => {
  expect(() => read(attributes)).toThrow(reason);
});

it("takes other contexts by their names, and stages to build again", () => {
  const { namedContexts, build } = read({
    "frontend.caps": "moby.buildkit.frontend.contexts+forward",
    "context:base": "docker-image://debian:12",
    "context:lib": "local:lib",
    "context:code": "https://example.com/code.git#v1",
    "no-cache": "one,stage-1",
  });
  expect(namedContexts).toEqual({
    base: { kind: "image", reference: "debian:12" },
    lib: { kind: "directory", directory: "lib" },
    code: { kind: "remote", remote: "https://example.com/code.git#v1" },
  });
  expect(build).toMatchObject({ noCache: false, noCacheStages: ["one", "stage-1"] });
});

it("takes other builds' results, and no input that nothing speaks of", () => {
  const attributes = { "context:base": "input:context:base", "input-metadata:context:base": "{}" };
  const inputs = { "context:base": "sha256:1" };
  expect(frontendOptions(attributes, [], host, inputs).namedContexts).toEqual({
    base: { kind: "image", reference: "sha256:1" },
  });
  expect(() => frontendOptions({}, [], host, inputs)).toThrow(/the input context:base/);
});

it("takes the cache of images only", () => {
  const imports = [{ Type: "registry", Attrs: { ref: "a:1" } }];
  expect(frontendOptions({}, imports, host).build.cacheFrom).toEqual(["a:1"]);
  expect(() => frontendOptions({}, [{ Type: "gha", Attrs: {} }], host)).toThrow(/type=gha/);
});

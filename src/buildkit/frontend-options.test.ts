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
  [{ "no-cache": "stage" }, /--no-cache-filter/],
  [{ "attest:sbom": "generator=x" }, /--sbom/],
  [{ "context:base": "docker-image://x" }, /context:base/],
  [{ "build-arg:BUILDKIT_SYNTAX": "someone/else" }, /someone\/else/],
  [{ "cgroup-parent": "/x" }, /--cgroup-parent/],
  [{ hostname: "builder" }, /hostname/],
  [{ ulimit: "nofile" }, /invalid value "nofile"/],
])("refuses %j by name", (attributes, reason) => {
  expect(() => read(attributes)).toThrow(reason);
});

it("takes the cache of images only", () => {
  const imports = [{ Type: "registry", Attrs: { ref: "a:1" } }];
  expect(frontendOptions({}, imports, host).build.cacheFrom).toEqual(["a:1"]);
  expect(() => frontendOptions({}, [{ Type: "gha", Attrs: {} }], host)).toThrow(/type=gha/);
});

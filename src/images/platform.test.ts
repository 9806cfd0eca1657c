import { expect, test } from "vitest";
import type { Descriptor, Platform } from "../schema/image.ts";
import { formatPlatform, matchingManifests, parsePlatform, platformSatisfies } from "./platform.ts";

const HOST = { os: "linux", architecture: "amd64" };

function entry(name: string, platform?: Descriptor["platform"]): Descriptor {
  const shared = { mediaType: "m", digest: name, size: 1 };
  return platform === undefined ? shared : { ...shared, platform };
}

test.each([
  ["arm64", "linux/arm64"],
  ["linux/aarch64", "linux/arm64"],
  ["linux/arm64/v8", "linux/arm64"],
  ["linux/x86_64", "linux/amd64"],
  ["linux/amd64/v3", "linux/amd64/v3"],
  ["linux/arm", "linux/arm/v7"],
  ["linux/arm/6", "linux/arm/v6"],
  ["linux", "linux/amd64"],
])("--platform %s is %s", (text, expected) => {
  expect(formatPlatform(parsePlatform(text, HOST))).toBe(expected);
});

test.each(["linux/amd64/v1/x", "linux/", "li nux/amd64", ""])("--platform %j is refused", (text) => {
  expect(() => parsePlatform(text, HOST)).toThrow(/is an invalid platform/);
});

test("one word that is neither an operating system nor an architecture is refused", () => {
  expect(() => parsePlatform("nonsense", HOST)).toThrow('"nonsense": unknown operating system or architecture');
});

test("the highest variant that runs is chosen, and attestations never are", () => {
  const manifests = [
    entry("attestation", { os: "unknown", architecture: "unknown" }),
    entry("v3", { os: "linux", architecture: "amd64", variant: "v3" }),
    entry("v2", { os: "linux", architecture: "amd64", variant: "v2" }),
    entry("plain", { os: "linux", architecture: "amd64" }),
    entry("arm", { os: "linux", architecture: "arm64" }),
  ];
  const names = (platform: Platform) => matchingManifests(manifests, platform).map(({ digest }) => digest);
  expect(names({ os: "linux", architecture: "amd64" })).toEqual(["plain"]);
  expect(names({ os: "linux", architecture: "amd64", variant: "v2" })).toEqual(["v2", "plain"]);
  expect(names({ os: "linux", architecture: "amd64", variant: "v4" })).toEqual(["v3", "v2", "plain"]);
  expect(names({ os: "linux", architecture: "aarch64", variant: "v8" })).toEqual(["arm"]);
  expect(names({ os: "linux", architecture: "riscv64" })).toEqual([]);
});

test("an entry without a platform is the last resort", () => {
  const manifests = [entry("any"), entry("amd64", { os: "linux", architecture: "amd64" })];
  expect(matchingManifests(manifests, HOST).map(({ digest }) => digest)).toEqual(["amd64", "any"]);
});

test("arm/v6 runs on arm/v7, not the other way round", () => {
  const v6 = { os: "linux", architecture: "arm", variant: "v6" };
  const v7 = { os: "linux", architecture: "arm", variant: "v7" };
  expect(platformSatisfies(v6, v7)).toBe(true);
  expect(platformSatisfies(v7, v6)).toBe(false);
});

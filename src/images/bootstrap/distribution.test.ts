import { describe, expect, it, test } from "vitest";
import { parseReference } from "../reference.ts";
import { hostRelease, namesRelease, releaseOf, sourcesOf, sourcesOfMirror } from "./distribution.ts";

const BOOKWORM = { distribution: "debian", suite: "bookworm" } as const;
const HOST_SOURCES = [
  { uri: "http://m.example/debian", suite: "bookworm", components: ["main"] },
  { uri: "http://m.example/debian", suite: "bookworm-updates", components: ["main"] },
  { uri: "http://m.example/security", suite: "bookworm-security", components: ["main"] },
  { uri: "http://m.example/debian", suite: "bookworm-backports", components: ["main"] },
  { uri: "http://node.example", suite: "nodistro", components: ["main"] },
];

test.each([
  ["debian:bookworm", "debian", "bookworm"],
  ["debian:12", "debian", "bookworm"],
  ["debian:12.5", "debian", "bookworm"],
  ["debian:trixie-slim", "debian", "trixie"],
  ["debian", "debian", "bookworm"],
  ["ubuntu:24.04", "ubuntu", "noble"],
  ["ubuntu", "ubuntu", "noble"],
  ["localhost:5000/x/debian:sid", "debian", "sid"],
])("%s is %s %s", (text, distribution, suite) => {
  expect(releaseOf(parseReference(text), BOOKWORM)).toEqual({ distribution, suite });
});

test.each(["alpine", "debian:99", "ubuntu:1.2", "debian:Bad_Name"])("%s is refused", (text) => {
  expect(() => releaseOf(parseReference(text), BOOKWORM)).toThrow(/^cannot bootstrap/);
});

test("the host's release from os-release", () => {
  expect(hostRelease('ID=debian\nVERSION_CODENAME=bookworm\nNAME="x"\n')).toEqual(BOOKWORM);
  expect(hostRelease('ID="ubuntu"\nVERSION_CODENAME="noble"\n')).toEqual({ distribution: "ubuntu", suite: "noble" });
  expect(hostRelease("ID=fedora\n")).toBeUndefined();
});

test("the host's sources of the suite and its updates; not its backports, not others'", () => {
  expect(sourcesOf(BOOKWORM, BOOKWORM, HOST_SOURCES).map(({ suite }) => suite)).toEqual([
    "bookworm",
    "bookworm-updates",
    "bookworm-security",
  ]);
});

test("another release of the host's distribution comes from the host's mirror", () => {
  const trixie = { distribution: "debian", suite: "trixie" } as const;
  expect(sourcesOf(trixie, BOOKWORM, HOST_SOURCES).map(({ uri, suite }) => `${uri} ${suite}`)).toEqual([
    "http://m.example/debian trixie",
    "http://m.example/debian trixie-updates",
    "http://m.example/security trixie-security",
  ]);
});

test("another distribution comes from its own mirror, with its own keyring", () => {
  const noble = { distribution: "ubuntu", suite: "noble" } as const;
  const sources = sourcesOf(noble, BOOKWORM, HOST_SOURCES);
  expect(sources.map(({ uri, suite }) => `${uri} ${suite}`)).toEqual([
    "http://archive.ubuntu.com/ubuntu noble",
    "http://archive.ubuntu.com/ubuntu noble-updates",
    "http://security.ubuntu.com/ubuntu noble-security",
  ]);
  expect(sources[0]?.signedBy).toEqual({ path: "/usr/share/keyrings/ubuntu-archive-keyring.gpg" });
});

test("a mirror that the user names is the only one", () => {
  expect(sourcesOfMirror(BOOKWORM, "file:/srv/mirror")).toEqual([
    { uri: "file:/srv/mirror", suite: "bookworm", components: ["main"] },
  ]);
});

describe("a release's usual name", () => {
  it.each(["debian:bookworm", "debian", "debian:12", "debian:12.5", "debian:bookworm-slim", "ubuntu:24.04"])(
    "%s",
    (name) => {
      expect(namesRelease(parseReference(name))).toBe(true);
    },
  );

  it.each(["debian:mine", "me/debian:bookworm", "localhost:5000/library/debian:bookworm", "busybox", "debian:99"])(
    "is not %s",
    (name) => {
      expect(namesRelease(parseReference(name))).toBe(false);
    },
  );
});

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { formatSource, isPublic, parseDeb822, parseOneLine, readHostSources, readSecretHosts } from "./apt-sources.ts";

test("one-line sources", () => {
  const text = `
# a comment
deb http://deb.debian.org/debian bookworm main contrib # why
deb-src http://deb.debian.org/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] https://r.example/apt ./
deb\t[trusted=yes] file:/srv/repo stable main
`;
  expect(parseOneLine(text)).toEqual([
    { uri: "http://deb.debian.org/debian", suite: "bookworm", components: ["main", "contrib"] },
    { uri: "https://r.example/apt", suite: "./", components: [], signedBy: { path: "/usr/share/keyrings/k.gpg" } },
    { uri: "file:/srv/repo", suite: "stable", components: ["main"], trusted: true },
  ]);
  expect(parseOneLine(text).map(formatSource)).toEqual([
    "deb http://deb.debian.org/debian bookworm main contrib",
    "deb [signed-by=/usr/share/keyrings/k.gpg] https://r.example/apt ./",
    "deb [trusted=yes] file:/srv/repo stable main",
  ]);
});

test("deb822 sources: several URIs and suites, comments, disabled ones, a key inside", () => {
  const text = `Types: deb deb-src
# why
URIs: http://a.example/d http://b.example/d
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /k.gpg

Enabled: no
Types: deb
URIs: http://c.example
Suites: x

Types: deb
URIs: http://d.example
Suites: s
Components: c
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
`;
  const sources = parseDeb822(text);
  expect(sources.map(({ uri, suite }) => `${uri} ${suite}`)).toEqual([
    "http://a.example/d bookworm",
    "http://a.example/d bookworm-updates",
    "http://b.example/d bookworm",
    "http://b.example/d bookworm-updates",
    "http://d.example s",
  ]);
  expect(sources[0]?.signedBy).toEqual({ path: "/k.gpg" });
  expect(sources[4]?.signedBy).toEqual({
    key: "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n",
  });
});

test("the host's files are read, and which hosts want passwords", async () => {
  const apt = mkdtempSync(join(tmpdir(), "berth-apt-"));
  try {
    mkdirSync(join(apt, "sources.list.d"));
    mkdirSync(join(apt, "auth.conf.d"));
    writeFileSync(join(apt, "sources.list"), "deb http://one.example/ s main\n");
    writeFileSync(join(apt, "sources.list.d/b.sources"), "Types: deb\nURIs: http://two.example\nSuites: s\n");
    writeFileSync(join(apt, "sources.list.d/a.list"), "deb http://three.example/ s main\n");
    writeFileSync(join(apt, "sources.list.d/c.disabled"), "deb http://four.example/ s main\n");
    writeFileSync(join(apt, "auth.conf.d/x.conf"), "machine https://two.example/path login a password b\n");
    const sources = await readHostSources(apt);
    expect(sources.map(({ uri }) => uri)).toEqual([
      "http://one.example/",
      "http://three.example/",
      "http://two.example",
    ]);
    const secret = await readSecretHosts(apt);
    expect(sources.map((source) => isPublic(source, secret))).toEqual([true, true, false]);
  } finally {
    rmSync(apt, { recursive: true });
  }
  expect(await readHostSources("/nowhere")).toEqual([]);
});

test.each([
  ["http://a.example/d", true],
  ["https://user:pass@a.example/d", false],
  ["file:/srv/d", false],
  ["cdrom:[Debian]/", false],
])("a container can use %s: %s", (uri, expected) => {
  expect(isPublic({ uri, suite: "s", components: [] }, new Set())).toBe(expected);
});

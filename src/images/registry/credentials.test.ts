import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { background } from "../../base/op-context.ts";
import { FakeProcesses } from "../../host/fake/fake-processes.ts";
import { dockerConfigCredentials } from "./credentials.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-credentials-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

async function lookup(config: unknown, domain: string, processes = new FakeProcesses()) {
  const path = join(directory, "config.json");
  writeFileSync(path, typeof config === "string" ? config : JSON.stringify(config));
  return await dockerConfigCredentials(processes, path)(background(), domain);
}

const auth = (text: string) => ({ auth: Buffer.from(text).toString("base64") });

test("auths by host, by URL, and for the hub under its old name", async () => {
  const auths = {
    "https://index.docker.io/v1/": auth("hub:pass:with:colons"),
    "https://r.example/v2/": auth("url:1"),
    "localhost:5000": { ...auth("host:2"), identitytoken: "refresh" },
  };
  expect(await lookup({ auths }, "docker.io")).toEqual({ username: "hub", password: "pass:with:colons" });
  expect(await lookup({ auths }, "r.example")).toEqual({ username: "url", password: "1" });
  expect(await lookup({ auths }, "localhost:5000")).toEqual({ identityToken: "refresh" });
  expect(await lookup({ auths }, "other.example")).toBeUndefined();
});

test("a helper for the registry goes before the store, and the file comes last", async () => {
  const processes = new FakeProcesses();
  processes.script("docker-credential-special", ({ input }) => ({
    stdout: JSON.stringify({ ServerURL: input, Username: "<token>", Secret: "t" }),
  }));
  processes.script("docker-credential-all", () => ({ code: 1, stdout: "credentials not found in native keychain\n" }));
  const config = { credHelpers: { "r.example": "special" }, credsStore: "all", auths: { "s.example": auth("a:b") } };
  expect(await lookup(config, "r.example", processes)).toEqual({ identityToken: "t" });
  expect(await lookup(config, "s.example", processes)).toEqual({ username: "a", password: "b" });
  expect(processes.runs.map(({ argv, input }) => [...argv, input])).toEqual([
    ["docker-credential-special", "get", "r.example"],
    ["docker-credential-all", "get", "s.example"],
  ]);
});

test("no file is nobody; a broken one is an error that names it", async () => {
  const none = dockerConfigCredentials(new FakeProcesses(), join(directory, "none.json"));
  expect(await none(background(), "docker.io")).toBeUndefined();
  await expect(lookup("{", "docker.io")).rejects.toThrow(`credentials file ${directory}/config.json`);
  await expect(lookup({ credsStore: "../../bin/sh" }, "docker.io")).rejects.toThrow("not a program's name");
});

test("a helper's complaint is passed on", async () => {
  const processes = new FakeProcesses();
  processes.script("docker-credential-all", () => ({ code: 1, stdout: "keychain is locked" }));
  await expect(lookup({ credsStore: "all" }, "r.example", processes)).rejects.toThrow(
    "error getting credentials: docker-credential-all: keychain is locked",
  );
});

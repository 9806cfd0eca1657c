import { describe, expect, it } from "vitest";
import type { CloudInit } from "../../schema/cloud-init.ts";
import { networkConfig } from "./network-config.ts";
import { nocloudSeed } from "./seed.ts";
import { userData } from "./user-data.ts";
import { yaml } from "./yaml.ts";

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@here";
const hash = "$6$salt$hash";

/** Our own user-data is a comment and JSON. */
function parse(text: string): unknown {
  expect(text.startsWith("#cloud-config\n")).toBe(true);
  return JSON.parse(text.slice(text.indexOf("\n")));
}

describe("userData", () => {
  it("tells of a user, packages, files and commands", () => {
    const cloudInit: CloudInit = {
      user: { name: "ada", sshKeys: [key], passwordHash: hash },
      packages: ["nginx"],
      files: [{ path: "/etc/motd", contents: "aGk=", mode: 0o600 }],
      runCommands: [["touch", "/a b"]],
      timezone: "Europe/Berlin",
    };
    expect(parse(userData(cloudInit))).toEqual({
      users: [
        {
          name: "ada",
          gecos: "ada",
          shell: "/bin/bash",
          sudo: "ALL=(ALL) NOPASSWD:ALL",
          lock_passwd: false,
          hashed_passwd: hash,
          ssh_authorized_keys: [key],
        },
      ],
      package_update: true,
      packages: ["nginx"],
      write_files: [
        { path: "/etc/motd", content: "aGk=", encoding: "b64", permissions: "0600", owner: "root:root", defer: true },
      ],
      runcmd: [["touch", "/a b"]],
      timezone: "Europe/Berlin",
    });
  });

  it("locks the password of a user without one", () => {
    expect(parse(userData({ user: { name: "ada" } }))).toMatchObject({ users: [{ lock_passwd: true }] });
  });

  it("passes a user's own on as it is, and puts it on top of what else there is", () => {
    const own = "#cloud-config\npackages: [vim]\n";
    expect(userData({ userData: own })).toBe(own);
    const joined = userData({ user: { name: "ada" }, userData: own });
    const [head = "", ours = "", theirs = ""] = joined.split("--==BERTH-USER-DATA==\n");
    expect(head).toMatch(/^Content-Type: multipart\/mixed; boundary="==BERTH-USER-DATA=="\nMIME-Version: 1.0\n\n$/);
    const body = (part: string) => Buffer.from(part.split("\n\n")[1]?.split("--==")[0] ?? "", "base64").toString();
    expect(parse(body(ours))).toMatchObject({ users: [{ name: "ada" }] });
    expect(body(theirs)).toBe(own);
    expect(userData({ user: { name: "ada" }, userData: "#!/bin/sh\ntrue\n" })).toContain(
      "Content-Type: text/x-shellscript",
    );
  });

  it.each([
    ["what has no first line that is known", "packages: [vim]\n", /first line/],
    ["a list", "#cloud-config\n- vim\n", /line 2 should be a key/],
    ["plain words", "#cloud-config\n# hello\nhello world\n", /line 3/],
    ["a tab", "#cloud-config\nusers:\n\t- ada\n", /line 3 is indented with a tab/],
    ["what is no text", "#cloud-config\n\0", /not text/],
    ["too much", `#cloud-config\n${"#".repeat(5 * 1024 * 1024)}`, /more than/],
  ])("refuses %s", (_, text, message) => {
    expect(() => userData({ userData: text })).toThrow(
      expect.objectContaining({ code: "CLOUD_INIT_INVALID", message: expect.stringMatching(message) }),
    );
  });

  it.each([
    "#cloud-config\n",
    "#cloud-config\n---\na: 1\n",
    "#cloud-config\n{a: 1}\n",
    '#cloud-config\n"a": 1\n',
    "#cloud-config\nssh_pwauth: true",
  ])("takes %j", (text) => {
    expect(userData({ userData: text })).toBe(text);
  });

  it("does not join parts of MIME with others", () => {
    const own = "MIME-Version: 1.0\nContent-Type: multipart/mixed\n";
    expect(userData({ userData: own })).toBe(own);
    expect(() => userData({ packages: ["vim"], userData: own })).toThrow(/parts of its own/);
  });
});

it("escapes what YAML can't have", () => {
  expect(yaml({ a: "\u0085\u2028\u007f\ufeff\ud800 ü😀\n" })).toBe(
    '{\n  "a": "\\u0085\\u2028\\u007f\\ufeff\\ud800 ü😀\\n"\n}\n',
  );
});

it("configures cards by their MAC, with DHCP or fixed addresses", () => {
  expect(
    networkConfig([
      { mac: "52:54:00:AA:00:01" },
      {
        mac: "52:54:00:aa:00:02",
        addresses: ["10.1.0.5/24"],
        gateways: ["10.1.0.1"],
        nameservers: ["10.1.0.1"],
        mtu: 1400,
      },
    ]),
  ).toEqual({
    version: 2,
    ethernets: {
      eth0: { match: { macaddress: "52:54:00:aa:00:01" }, "set-name": "eth0", dhcp4: true },
      eth1: {
        match: { macaddress: "52:54:00:aa:00:02" },
        "set-name": "eth1",
        addresses: ["10.1.0.5/24"],
        routes: [{ to: "0.0.0.0/0", via: "10.1.0.1" }],
        nameservers: { addresses: ["10.1.0.1"], search: [] },
        mtu: 1400,
      },
    },
  });
});

it("is the same bytes for the same request", () => {
  const request = { instanceId: "i-1", hostname: "web1", cloudInit: {}, nics: [], date: new Date(1e12) };
  expect(nocloudSeed(request).equals(nocloudSeed(request))).toBe(true);
});

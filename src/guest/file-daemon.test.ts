import { expect, test } from "vitest";
import { background } from "../base/op-context.ts";
import { FakeHost } from "../host/fake/fake-host.ts";
import { askFileDaemon, fileDaemonProgram, fileDaemonWords } from "./file-daemon.ts";

const none = () => false;

test("it is found on the path, or where distributions hide it; only below /usr, which jails have", () => {
  const host = new FakeHost();
  expect(fileDaemonProgram(host, none)).toBeUndefined();
  expect(fileDaemonProgram(host, (path) => path === "/usr/lib/qemu/virtiofsd")).toBe("/usr/lib/qemu/virtiofsd");
  host.processes.install("virtiofsd");
  expect(fileDaemonProgram(host, none)).toBe("/usr/bin/virtiofsd");
});

test.each([
  ["virtiofsd version 7.2.22 (Debian 1:7.2)\nCopyright (c) 2003-2022 Fabrice Bellard and the QEMU Project", "c"],
  ["virtiofsd 1.13.2", "rust"],
])("asked for its version, %j, it is the one in %s", async (stdout, kind) => {
  const host = new FakeHost();
  host.processes.script("virtiofsd", () => ({ stdout }));
  const program = "/usr/libexec/virtiofsd";
  expect(await askFileDaemon(background(), host, program)).toEqual({ program, kind });
});

test.each(["c", "rust"] as const)("the one in %s has the tree as its root, and makes no devices", (kind) => {
  const [program, ...words] = fileDaemonWords({ program: "/usr/libexec/virtiofsd", kind }, "/tree");
  expect(program).toBe("/usr/libexec/virtiofsd");
  for (const part of ["/tree", "sandbox=chroot", "modcaps=-mknod", "xattr", "submounts"]) {
    expect(words.join(" ")).toContain(part);
  }
});

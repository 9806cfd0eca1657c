import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { background } from "../base/op-context.ts";
import { FakeHost } from "../host/fake/fake-host.ts";
import { probeKvm } from "./kvm-probe.ts";

let root: string;
let host: FakeHost;
const probe = (facts: FakeHost = host) => probeKvm(background(), { host: facts, rom: "/rom", root, hostRoot: root });

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "berth-kvm-"));
  // Never busy, so that there is one try.
  host = new FakeHost({ cpus: 10_000 });
  host.processes.install("qemu-system-x86_64");
  for (const directory of ["dev", "proc", "sys/module"]) mkdirSync(join(root, directory), { recursive: true });
  writeFileSync(join(root, "dev/kvm"), "");
  writeFileSync(join(root, "proc/cpuinfo"), "processor : 0\nflags\t\t: fpu vmx sse\n");
});

afterEach(() => rmSync(root, { recursive: true }));

test("a guest that gets through makes it KVM, and is asked once for a boot of the host", async () => {
  host.processes.onSpawn((qemu) => qemu.exit(85));
  expect(await probe()).toEqual({ kind: "kvm", reason: "" });
  expect(await probe()).toEqual({ kind: "kvm", reason: "" });
  expect(host.processes.spawned).toHaveLength(1);
  const rebooted = new FakeHost({ cpus: 10_000, bootId: "another" });
  rebooted.processes.install("qemu-system-x86_64");
  rebooted.processes.onSpawn((qemu) => qemu.exit(1));
  expect(await probe(rebooted)).toEqual({ kind: "tcg", reason: "/dev/kvm opens, and QEMU can't use it" });
});

test("a guest that never gets anywhere is killed, within 300 ms", async () => {
  const began = performance.now();
  expect(await probe()).toEqual({ kind: "tcg", reason: "/dev/kvm opens, and a guest in it does not run" });
  expect(performance.now() - began).toBeLessThan(1000);
  expect(host.processes.spawned[0]?.signals).toEqual([9]);
});

test.each([
  ["there is no /dev/kvm", () => rmSync(join(root, "dev/kvm"))],
  ["its KVM (pvm) does not run ordinary guests", () => mkdirSync(join(root, "sys/module/kvm_pvm"))],
  [
    "the processor has no hardware virtualization (vmx or svm)",
    () => writeFileSync(join(root, "proc/cpuinfo"), "flags : fpu\n"),
  ],
  ["QEMU is not installed", () => host.processes.uninstall("qemu-system-x86_64")],
])("%s: no QEMU is started", async (reason, prepare) => {
  prepare();
  expect(await probe()).toEqual({ kind: "tcg", reason });
  expect(host.processes.spawned).toHaveLength(0);
});

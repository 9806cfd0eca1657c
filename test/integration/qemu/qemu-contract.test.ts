/** What every driver has to do, done by machines under emulation (or KVM, where that works): the first is booted, the others restored. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { driverContract } from "../../../src/instances/driver.contract.ts";
import { guestKernelPackage } from "../../support/guest-kernel.ts";
import { QemuWorld } from "./qemu-world.ts";

const root = mkdtempSync(join(tmpdir(), "berth-qemu-"));
const options = {
  root,
  binaries: join(root, "bin"),
  kernelPackage: guestKernelPackage(),
  templateBytes: 1024 ** 3,
};

beforeAll(() => {
  execFileSync("sh", ["guest/build.sh", options.binaries]);
});
afterAll(() => {
  rmSync(root, { recursive: true });
});

// Limits are those of the jail, and memory is the guest's to run out of: see the e2e test.
driverContract("qemu", { kernel: false, commandIsSought: "start", open: () => QemuWorld.open(options) });

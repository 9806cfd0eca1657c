import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { unlimited } from "../../schema/resources.ts";
import { instanceSpec } from "../fake/instance-spec.ts";
import { prepareRequest } from "../fake/prepare-request.ts";
import { machineSpec } from "./machine-spec.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "berth-spec-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

it("says all that the guest has to know of the instance", async () => {
  const hosts = join(dir, "hosts");
  writeFileSync(hosts, "127.0.0.1 localhost\n");
  const spec = instanceSpec(["serve"], {
    resources: { ...unlimited, memory: 128 * 1024 * 1024, nanoCpus: 2e9 },
    domainname: "example.org",
    sysctls: { "net.core.somaxconn": "9" },
    security: { readonlyRootfs: true },
  });
  const request = {
    ...prepareRequest("i", spec, dir),
    hostname: "web",
    interfaces: ["eth0", "eth1"],
    mounts: [
      { type: "bind", source: hosts, target: "/etc/hosts", options: ["bind"] },
      { type: "tmpfs", source: "tmpfs", target: "/cache", options: ["size=1m", "exec"] },
    ] as const,
  };
  const acceleration = { kind: "tcg", reason: "" } as const;
  const fields = await machineSpec(request, { acceleration, hostCpus: 4 });
  expect(fields).toEqual(
    expect.arrayContaining([
      ["accel", "tcg"],
      ["memory", "128"],
      ["cpus", "2"],
      ["net", "eth0"],
      ["net", "eth1"],
      ["mount.readonly", "1"],
      ["mount.shm", String(64 * 1024 * 1024)],
      ["configure.hostname", "web"],
      ["configure.domainname", "example.org"],
      ["configure.file", "/etc/hosts\n127.0.0.1 localhost\n"],
      ["configure.tmpfs", "/cache\nnosuid,nodev,size=1m,exec"],
      ["configure.sysctl", "net.core.somaxconn=9"],
      ["run.arg", "serve"],
    ]),
  );
});

it("writes to the scratch disk as to a disk: also an instance with --rm may be killed and started again", async () => {
  const request = prepareRequest("i", instanceSpec(["true"], { autoRemove: true }), dir);
  const acceleration = { kind: "kvm", reason: "" } as const;
  const fields = await machineSpec(request, { acceleration, hostCpus: 1 });
  expect(fields.map(([name]) => name)).not.toContain("scratch.cache");
  expect(fields).toContainEqual(["accel", "kvm"]);
});

it("refuses an environment that the agent can't take in one piece", async () => {
  const request = prepareRequest(
    "i",
    instanceSpec(["true"], { process: { env: [`A=${"x".repeat(64 * 1024)}`] } }),
    dir,
  );
  const acceleration = { kind: "tcg", reason: "" } as const;
  await expect(machineSpec(request, { acceleration, hostCpus: 1 })).rejects.toMatchObject({
    code: "MACHINE_UNSUPPORTED",
  });
});

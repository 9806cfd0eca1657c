import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { background } from "../base/op-context.ts";
import { checkHost, type HostCheck } from "./checks.ts";
import { checkCgroups, checkKernelVersion } from "./checks/kernel-checks.ts";
import { FakeCgroups } from "./fake/fake-cgroups.ts";
import { FakeHost } from "./fake/fake-host.ts";

const ctx = background();
let dataRoot: string;

beforeEach(() => {
  dataRoot = mkdtempSync(join(tmpdir(), "berth-checks-"));
});

afterEach(() => rmSync(dataRoot, { recursive: true }));

describe("checkKernelVersion", () => {
  it.each([
    ["6.1.0-13-amd64", "ok"],
    ["5.12.0", "ok"],
    ["5.11.22", "error"],
    ["4.19.0", "error"],
  ])("%s is %s", (kernelRelease, status) => {
    expect(checkKernelVersion(ctx, { host: new FakeHost({ kernelRelease }), dataRoot }).status).toBe(status);
  });
});

describe("checkCgroups", () => {
  const check = (controllers: readonly string[], swapLimit = true) => {
    const cgroups = Object.assign(new FakeCgroups("v2"), { controllers: [...controllers] });
    Object.assign(cgroups.features, { swapLimit });
    return checkCgroups(ctx, { host: Object.assign(new FakeHost(), { cgroups }), dataRoot });
  };

  it("wants every controller, and says which are missing", () => {
    expect(check(["cpu", "cpuset", "io", "memory", "pids"]).status).toBe("ok");
    expect(check(["cpu", "cpuset", "io", "pids"])).toMatchObject({
      status: "warning",
      detail: expect.stringContaining("without memory"),
    });
    expect(check([]).status).toBe("error");
    expect(check(["cpu", "cpuset", "io", "memory", "pids"], false).detail).toContain("swap");
  });
});

describe("checkHost", () => {
  const found = async (host: FakeHost) => {
    const checks = await checkHost(ctx, host, { dataRoot });
    return (id: string): HostCheck | undefined => checks.find((check) => check.id === id);
  };

  it("names missing programs and the package that has them", async () => {
    const check = await found(new FakeHost());
    expect(check("runtime")).toMatchObject({ status: "error", remedy: expect.stringContaining("apt install runc") });
    expect(check("conmon")?.status).toBe("error");
    expect(check("dnsmasq")?.remedy).toContain("dnsmasq-base");
    expect(check("mmdebstrap")?.status).toBe("warning");
    expect(check("nftables")?.detail).toBe("nft is not installed");
  });

  it("shows the versions of those that are there", async () => {
    const host = new FakeHost();
    host.processes.script("runc", () => ({ stdout: "runc version 1.1.5\ncommit: x\n" }));
    host.processes.install("conmon");
    const check = await found(host);
    expect(check("runtime")).toMatchObject({ status: "ok", detail: "runc version 1.1.5" });
    expect(check("conmon")).toMatchObject({ status: "ok", detail: "conmon" });
  });

  it("warns of a firewall that drops what is forwarded, unless Docker's own chain lets us in", async () => {
    const host = new FakeHost();
    const chains = new Map([["FORWARD", "-P FORWARD DROP\n"]]);
    host.processes.script("iptables", ({ argv }) => {
      const rules = chains.get(argv.at(-1) ?? "");
      return rules === undefined ? { code: 1 } : { stdout: rules };
    });
    expect((await found(host))("foreign-firewall")?.status).toBe("warning");
    chains.set("DOCKER-USER", "-N DOCKER-USER\n");
    expect((await found(host))("foreign-firewall")).toMatchObject({
      status: "ok",
      detail: expect.stringContaining("DOCKER-USER"),
    });
  });

  it("turns a failed try into its finding, and cleans up after it", async () => {
    const host = new FakeHost();
    using _failing = host.kernel.failWhen((op) => (op.op === "veth-create" ? "ENOTSUP" : undefined));
    const check = await found(host);
    expect(check("network-devices")).toMatchObject({ status: "error", detail: expect.stringContaining("ENOTSUP") });
    expect((await host.kernel.links()).map(({ name }) => name)).toEqual(["lo"]);
    expect(await host.kernel.mounts("/")).toEqual([]);
  });
});

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { silentLogger } from "../base/logger.ts";
import { background } from "../base/op-context.ts";
import { FakeProcesses } from "../host/fake/fake-processes.ts";
import type { DnsServerSpec } from "./dns-config.ts";
import { DnsServers } from "./dns-servers.ts";
import { scriptDnsmasq } from "./fake/fake-dnsmasq.ts";

const ctx = background();

describe("DNS servers", () => {
  let root: string;
  let processes: FakeProcesses;
  let servers: DnsServers;
  let started: readonly number[];

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "berth-dns-"));
    mkdirSync(join(root, "hosts"));
    processes = new FakeProcesses();
    started = scriptDnsmasq(processes);
    servers = open();
  });
  afterEach(() => {
    servers.close();
    rmSync(root, { recursive: true, force: true });
  });

  function open(): DnsServers {
    const clock = { now: () => 0, sleep: () => Promise.resolve() };
    return new DnsServers({ processes, log: silentLogger, clock });
  }

  function spec(more: Partial<DnsServerSpec> = {}): DnsServerSpec {
    return {
      id: "n1",
      name: "app",
      directory: join(root, "dns"),
      listen: ["10.1.0.1"],
      hostsDirectories: [join(root, "hosts")],
      upstream: { kind: "host" },
      subnets: ["10.1.0.0/24"],
      netns: "",
      ...more,
    };
  }

  it("start once, and are found again by the next engine", async () => {
    expect(servers.isUp("n1")).toBe(false);
    await servers.ensure(ctx, spec());
    await servers.ensure(ctx, spec());
    expect(servers.isUp("n1")).toBe(true);
    servers.close();
    servers = open();
    await servers.ensure(ctx, spec());
    expect(started).toHaveLength(1);
  });

  it("are replaced when they should answer otherwise", async () => {
    await servers.ensure(ctx, spec());
    await servers.ensure(ctx, spec({ upstream: { kind: "none" } }));
    expect(started).toHaveLength(2);
    expect(processes.identify(started[0] ?? 0)).toBeUndefined();
    expect(readFileSync(join(root, "dns", "dnsmasq.conf"), "utf8")).not.toContain("resolv-file");
  });

  it("are started again when they die, until they are stopped", async () => {
    await servers.ensure(ctx, spec());
    const first = processes.identify(started[0] ?? 0);
    if (first !== undefined) processes.signal(first, 9);
    await vi.waitFor(() => expect(servers.isUp("n1")).toBe(true));
    expect(started).toHaveLength(2);
    await servers.stop("n1", join(root, "dns"));
    expect(processes.identify(started[1] ?? 0)).toBeUndefined();
    expect(existsSync(join(root, "dns"))).toBe(false);
    expect(started).toHaveLength(2);
    await servers.stop("n1", join(root, "dns"));
  });

  it("are stopped also by an engine that did not start them", async () => {
    await servers.ensure(ctx, spec());
    servers.close();
    await open().stop("n1", join(root, "dns"));
    expect(processes.identify(started[0] ?? 0)).toBeUndefined();
  });

  it.each(["stopped", "replaced"] as const)(
    "are %s also when their engine was killed before it noted them",
    async (how) => {
      await servers.ensure(ctx, spec());
      servers.close();
      rmSync(join(root, "dns", "dnsmasq.json"));
      if (how === "stopped") await open().stop("n1", join(root, "dns"));
      else await open().ensure(ctx, spec());
      expect(processes.identify(started[0] ?? 0)).toBeUndefined();
      expect(started).toHaveLength(how === "stopped" ? 1 : 2);
    },
  );

  it("run in the namespace that they are for", async () => {
    processes.script("nsenter", (request) => processes.run(ctx, { argv: ["dnsmasq", ...request.argv.slice(3)] }));
    await servers.ensure(ctx, spec({ netns: "/run/netns/i1" }));
    expect(processes.runs.map(({ argv }) => argv.slice(0, 3))).toContainEqual([
      "nsenter",
      "--net=/run/netns/i1",
      "dnsmasq",
    ]);
  });

  it("keep root where others may not read their names", async () => {
    // mkdtemp makes directories that are the owner's alone.
    await servers.ensure(ctx, spec());
    expect(readFileSync(join(root, "dns", "dnsmasq.conf"), "utf8")).toContain("user=root\n");
  });

  it("say why they did not start", async () => {
    processes.script("dnsmasq", () => ({ code: 2, stderr: "dnsmasq: failed to create listening socket\n" }));
    await expect(servers.ensure(ctx, spec())).rejects.toThrow(
      "DNS server of network app did not start: dnsmasq: failed to create listening socket",
    );
    processes.script("dnsmasq", () => ({ code: 0 }));
    await expect(servers.ensure(ctx, spec())).rejects.toThrow("it ended at once");
    expect(servers.isUp("n1")).toBe(false);
  });
});

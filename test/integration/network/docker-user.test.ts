import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLogger } from "../../../src/base/logger.ts";
import type { Host } from "../../../src/host/host.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";
import { syncForwardRules } from "../../../src/network/docker-user.ts";
import { ctx } from "./engine-fixture.ts";

/** The real iptables, in a namespace of its own: the host's rules are not for tests to change. */
describe("rules beside another firewall", () => {
  let host: Host;
  let inside: Host;
  let directory: string;
  let netns: string;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "berth-iptables-"));
    netns = join(directory, "ns");
    host = await createLinuxHost({ log: silentLogger });
    await host.kernel.apply(ctx, [{ op: "netns-create", path: netns }]);
    const { processes } = host;
    inside = {
      ...host,
      processes: {
        ...processes,
        which: (program) => processes.which(program),
        run: (ctx, request) => processes.run(ctx, { ...request, argv: ["nsenter", `--net=${netns}`, ...request.argv] }),
      },
    };
  });
  afterEach(async () => {
    await host.kernel.apply(ctx, [{ op: "netns-remove", path: netns }]);
    await host.close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function iptables(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await inside.processes.run(ctx, { argv: ["iptables", "-w", ...args] });
    expect(stderr).toBe("");
    expect(code).toBe(0);
    return stdout;
  }

  const sync = (...ipv4: readonly string[]): Promise<void> =>
    syncForwardRules(ctx, inside, "abc123", { ipv4, ipv6: [] });

  it("lets the bridges through Docker's chain, behind the administrator's rules, and takes only its own away", async () => {
    await iptables("-P", "FORWARD", "DROP");
    await iptables("-N", "DOCKER-USER");
    await iptables("-A", "DOCKER-USER", "-s", "192.0.2.66/32", "-j", "DROP");
    await iptables("-A", "DOCKER-USER", "-j", "RETURN");
    const before = await iptables("-S");
    await sync("brt1", "brt2");
    await sync("brt1");
    expect(await iptables("-S", "DOCKER-USER")).toBe(
      [
        "-N DOCKER-USER",
        "-A DOCKER-USER -s 192.0.2.66/32 -j DROP",
        "-A DOCKER-USER -i brt1 -m comment --comment berth-abc123 -j ACCEPT",
        "-A DOCKER-USER -o brt1 -m comment --comment berth-abc123 -j ACCEPT",
        "-A DOCKER-USER -j RETURN",
        "",
      ].join("\n"),
    );
    await sync();
    expect(await iptables("-S")).toBe(before);
  });

  it("uses FORWARD itself where there is no such chain, and nothing where the firewall forwards", async () => {
    await sync("brt1");
    expect(await iptables("-S")).not.toContain("berth");
    await iptables("-P", "FORWARD", "DROP");
    await sync("brt1");
    expect(await iptables("-S", "FORWARD")).toContain("-A FORWARD -i brt1 -m comment --comment berth-abc123 -j ACCEPT");
    await iptables("-P", "FORWARD", "ACCEPT");
    await sync("brt1");
    expect(await iptables("-S")).not.toContain("berth");
  });
});

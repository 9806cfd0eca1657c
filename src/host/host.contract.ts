/** What every {@link Host} does alike; run for the real one (as root) and for the fake. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isBerthError } from "../base/errors.ts";
import { background } from "../base/op-context.ts";
import { unlimited } from "../schema/resources.ts";
import { errnoOf } from "./errors.ts";
import type { Child, Host } from "./host.ts";
import type { KernelOp } from "./kernel-ops.ts";

export interface HostHarness {
  open(): Promise<Host>;
  /** Starts something that runs until it is signalled. */
  startSleeper(host: Host): Promise<Child>;
  /** Puts a process into a group. */
  join(host: Host, group: string, pid: number): Promise<void>;
}

/** Registers the suite. Links and groups that it makes have `suffix` in their names. */
export function describeHost(name: string, harness: HostHarness, suffix: string): void {
  describe(`${name}: kernel`, () => kernelContract(harness, suffix));
  describe(`${name}: processes`, () => processesContract(harness));
  describe(`${name}: control groups`, () => cgroupsContract(harness, suffix));
}

const ctx = background();

function kernelContract(harness: HostHarness, suffix: string): void {
  let host: Host;
  let directory: string;
  const bridge = `brt${suffix}`;

  beforeEach(async () => {
    host = await harness.open();
    directory = mkdtempSync(join(tmpdir(), "berth-contract-"));
  });

  afterEach(async () => {
    const mounts = await host.kernel.mounts(directory);
    for (const { target } of mounts.toReversed()) await host.kernel.apply(ctx, [{ op: "unmount", target }]);
    await host.kernel.apply(ctx, [{ op: "link-delete", name: bridge }]);
    await host.close();
    rmSync(directory, { recursive: true });
  });

  const failureOf = async (...ops: KernelOp[]) => {
    const error = await host.kernel.apply(ctx, ops).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(isBerthError(error, "KERNEL_OP_FAILED")).toBe(true);
    return { errno: errnoOf(error), message: error instanceof Error ? error.message : "" };
  };

  it("lists mounts under a prefix until they are unmounted", async () => {
    const target = join(directory, "with space");
    mkdirSync(target);
    await host.kernel.apply(ctx, [{ op: "mount", source: "none", target, fstype: "tmpfs" }]);
    expect(await host.kernel.mounts(directory)).toEqual([{ target, source: "none", fstype: "tmpfs" }]);
    await host.kernel.apply(ctx, [{ op: "unmount", target }]);
    expect(await host.kernel.mounts(directory)).toEqual([]);
  });

  it("takes unmounting what is not mounted for done", async () => {
    const unmount = { op: "unmount", target: join(directory, "missing") } as const;
    await expect(host.kernel.apply(ctx, [unmount, { ...unmount, target: directory }])).resolves.toBeUndefined();
  });

  it("does nothing when the operation was given up before", async () => {
    const aborted = { ...ctx, signal: AbortSignal.abort(new Error("given up")) };
    const path = join(directory, "netns");
    await expect(host.kernel.apply(aborted, [{ op: "netns-create", path }])).rejects.toThrow("given up");
    expect(existsSync(path)).toBe(false);
  });

  it("connects a pinned namespace to a bridge, and takes all of it away with the namespace", async () => {
    const netns = join(directory, "netns");
    await host.kernel.apply(ctx, [
      { op: "bridge-create", name: bridge, mtu: 1400, addresses: ["10.213.99.1/24"] },
      { op: "netns-create", path: netns },
      {
        op: "veth-create",
        name: `vb${suffix}`,
        bridge,
        netns,
        peer: "veth0",
        mtu: 1400,
        mac: "02:42:0a:d5:63:02",
        hairpin: true,
      },
      {
        op: "link-configure",
        netns,
        name: "veth0",
        rename: "eth0",
        addresses: ["10.213.99.2/24"],
        routes: [{ destination: "0.0.0.0/0", gateway: "10.213.99.1" }],
      },
    ]);
    const ours = await host.kernel.links();
    const bridgeLink = ours.find((link) => link.name === bridge);
    expect(bridgeLink).toMatchObject({ kind: "bridge", mtu: 1400, up: true, master: 0 });
    expect(bridgeLink?.addresses).toContain("10.213.99.1/24");
    const port = ours.find((link) => link.name === `vb${suffix}`);
    expect(port).toMatchObject({ kind: "veth", up: true, mtu: 1400, master: bridgeLink?.index });

    const inside = await host.kernel.links(netns);
    expect(inside.map((link) => link.name)).toEqual(["lo", "eth0"]);
    expect(inside[0]?.up).toBe(true);
    expect(inside[1]).toMatchObject({ kind: "veth", up: true, mtu: 1400, mac: "02:42:0a:d5:63:02" });
    expect(inside[1]?.addresses).toContain("10.213.99.2/24");

    await host.kernel.apply(ctx, [{ op: "netns-remove", path: netns }]);
    expect(existsSync(netns)).toBe(false);
    await expect.poll(async () => (await host.kernel.links()).map((link) => link.name)).not.toContain(`vb${suffix}`);
  });

  it("makes a bridge twice without harm, adding addresses", async () => {
    const make = { op: "bridge-create", name: bridge, mtu: 1500, addresses: ["10.213.98.1/24"] } as const;
    await host.kernel.apply(ctx, [make, { ...make, mtu: 1300, addresses: ["10.213.98.1/24", "10.213.97.1/24"] }]);
    const link = (await host.kernel.links()).find(({ name }) => name === bridge);
    expect(link?.mtu).toBe(1300);
    expect(link?.addresses.filter((address) => address.startsWith("10."))).toEqual([
      "10.213.98.1/24",
      "10.213.97.1/24",
    ]);
  });

  it("takes away what is not there without complaint", async () => {
    const netns = join(directory, "none");
    await host.kernel.apply(ctx, [
      { op: "link-delete", name: `no${suffix}` },
      { op: "link-delete", name: "eth0", netns },
      { op: "route-delete", netns, route: { destination: "10.0.0.0/8" } },
      { op: "netns-remove", path: netns },
    ]);
  });

  it("says which operation failed, on what, and why", async () => {
    const missing = await failureOf({ op: "link-configure", name: `no${suffix}`, addresses: [], routes: [] });
    expect(missing).toMatchObject({ errno: "ENODEV", message: expect.stringContaining(`link-configure no${suffix}`) });
    const path = join(directory, "twice");
    await host.kernel.apply(ctx, [{ op: "netns-create", path }]);
    expect(await failureOf({ op: "netns-create", path })).toMatchObject({ errno: "EEXIST" });
    await host.kernel.apply(ctx, [{ op: "netns-remove", path }]);
  });

  it("does what comes before a failure, and nothing after it", async () => {
    const [first, last] = [join(directory, "first"), join(directory, "last")];
    await failureOf(
      { op: "netns-create", path: first },
      { op: "link-configure", name: `no${suffix}`, addresses: [], routes: [] },
      { op: "netns-create", path: last },
    );
    expect([existsSync(first), existsSync(last)]).toEqual([true, false]);
    await host.kernel.apply(ctx, [{ op: "netns-remove", path: first }]);
  });

  it("keeps extended attributes", async () => {
    const path = join(directory, "file");
    writeFileSync(path, "");
    expect(await host.kernel.getXattr(path, "trusted.berth")).toBeUndefined();
    const value = Uint8Array.of(0, 255, 10);
    await host.kernel.apply(ctx, [{ op: "set-xattr", path, name: "trusted.berth", value }]);
    expect([...((await host.kernel.getXattr(path, "trusted.berth")) ?? [])]).toEqual([...value]);
    expect(await host.kernel.listXattrs(path)).toEqual(["trusted.berth"]);
  });

  it("reads small files of a root, and says when one is too large", async () => {
    mkdirSync(join(directory, "etc"));
    writeFileSync(join(directory, "etc/passwd"), "root:x:0:0");
    const text = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString();
    expect(text(await host.kernel.readInRoot(directory, "/etc/passwd", 100))).toBe("root:x:0:0");
    expect(text(await host.kernel.readInRoot(directory, "../../etc/passwd", 10))).toBe("root:x:0:0");
    expect(await host.kernel.readInRoot(directory, "/etc/group", 100)).toBeUndefined();
    expect(await host.kernel.readInRoot(directory, "/etc/passwd/x", 100)).toBeUndefined();
    await expect(host.kernel.readInRoot(directory, "/etc/passwd", 9)).rejects.toThrow(/larger than 9 bytes/);
    await expect(host.kernel.readInRoot(directory, "/etc", 9)).rejects.toThrow(/not a regular file/);
  });

  it("locks a file for one holder at a time", async () => {
    const path = join(directory, "lock");
    const held = await host.kernel.lock(path);
    await expect(host.kernel.lock(path)).rejects.toMatchObject({
      code: "LOCK_HELD",
      message: expect.stringContaining(`process ${process.pid}`),
    });
    held[Symbol.dispose]();
    (await host.kernel.lock(path))[Symbol.dispose]();
  });
}

function processesContract(harness: HostHarness): void {
  let host: Host;

  beforeEach(async () => {
    host = await harness.open();
  });

  afterEach(() => host.close());

  it("follows a process from its start to its end", async () => {
    const child = await harness.startSleeper(host);
    const { identity } = child;
    expect(host.processes.identify(identity.pid)).toEqual(identity);
    expect(host.processes.isAlive(identity)).toBe(true);
    const gone = host.processes.waitGone(identity);
    expect(host.processes.signal(identity, 0)).toBe(true);
    expect(host.processes.signal(identity, 15)).toBe(true);
    expect(await child.exited).toEqual({ code: 0, signal: 15 });
    await gone;
    expect(host.processes.isAlive(identity)).toBe(false);
    expect(host.processes.identify(identity.pid)).toBeUndefined();
    expect(host.processes.signal(identity, 9)).toBe(false);
    await host.processes.waitGone(identity);
  });

  it("does not take a later process with the same pid for the first", async () => {
    const child = await harness.startSleeper(host);
    const earlier = { ...child.identity, startTime: child.identity.startTime - 1 };
    expect(host.processes.isAlive(earlier)).toBe(false);
    expect(host.processes.signal(earlier, 9)).toBe(false);
    await host.processes.waitGone(earlier);
    expect(host.processes.isAlive(child.identity)).toBe(true);
    host.processes.signal(child.identity, 9);
    expect(await child.exited).toEqual({ code: 0, signal: 9 });
  });

  it("stops waiting when told to", async () => {
    const child = await harness.startSleeper(host);
    const controller = new AbortController();
    const waiting = host.processes.waitGone(child.identity, controller.signal);
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    host.processes.signal(child.identity, 9);
    await child.exited;
  });

  it("names a program that is not there", async () => {
    const argv = ["no-such-program-of-berth"] as const;
    const error = { code: "PROGRAM_NOT_FOUND", message: expect.stringContaining(argv[0]) };
    await expect(host.processes.run(ctx, { argv })).rejects.toMatchObject(error);
    await expect(host.processes.spawn(ctx, { argv, env: {} })).rejects.toMatchObject(error);
    expect(host.processes.which(argv[0])).toBeUndefined();
  });
}

function cgroupsContract(harness: HostHarness, suffix: string): void {
  let host: Host;
  const parent = `/berth-${suffix}`;
  const group = `${parent}/one`;

  beforeEach(async () => {
    host = await harness.open();
  });

  afterEach(async () => {
    await host.cgroups.remove(ctx, parent);
    await host.close();
  });

  it("makes and removes groups, both of them twice", async () => {
    await host.cgroups.create(ctx, group);
    await host.cgroups.create(ctx, group);
    expect(await host.cgroups.children(parent)).toEqual(["one"]);
    expect(await host.cgroups.processes(group)).toEqual([]);
    await host.cgroups.remove(ctx, group);
    await host.cgroups.remove(ctx, group);
    expect(await host.cgroups.children(parent)).toEqual([]);
  });

  it("freezes, thaws, counts and kills what is in a group", async () => {
    await host.cgroups.create(ctx, group);
    const child = await harness.startSleeper(host);
    await harness.join(host, group, child.identity.pid);
    expect(await host.cgroups.processes(parent)).toEqual([child.identity.pid]);
    expect((await host.cgroups.usage(group)).pids).toBe(1);
    const [sample, gone] = await host.cgroups.samples([group, `${parent}/gone`]);
    expect(sample).toMatchObject({ pids: 1, memoryBytes: expect.any(Number), readBytes: expect.any(Number) });
    expect(gone).toBeUndefined();
    expect(await host.cgroups.isFrozen(group)).toBe(false);
    await host.cgroups.freeze(ctx, group);
    expect(await host.cgroups.isFrozen(group)).toBe(true);
    await host.cgroups.thaw(ctx, group);
    expect(await host.cgroups.isFrozen(group)).toBe(false);
    await host.cgroups.freeze(ctx, group);
    await host.cgroups.kill(ctx, group);
    expect(await child.exited).toEqual({ code: 0, signal: 9 });
    expect(await host.cgroups.oomKills(group)).toBe(0);
  });

  it("kills what is left when a group is removed", async () => {
    await host.cgroups.create(ctx, group);
    const child = await harness.startSleeper(host);
    await harness.join(host, group, child.identity.pid);
    await host.cgroups.remove(ctx, parent);
    expect(await child.exited).toEqual({ code: 0, signal: 9 });
    expect(await host.cgroups.children(parent)).toEqual([]);
  });

  it("says when a group is not there", async () => {
    const limited = host.cgroups.applyLimits(ctx, group, { ...unlimited, pidsLimit: 5 });
    await expect(limited).rejects.toMatchObject({
      code: "KERNEL_OP_FAILED",
      message: expect.stringContaining(group),
    });
  });
}

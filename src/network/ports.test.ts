import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BindResult } from "./bind-test.ts";
import { failpoints } from "../host/failpoints.ts";
import { collide, PortLeases } from "./port-leases.ts";
import { PortAllocator, type PortRequest } from "./ports.ts";

describe("host ports", () => {
  let directory: string;
  let alive: string;
  let host: Map<string, BindResult>;
  let asked: string[];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "berth-ports-"));
    alive = join(directory, "netns");
    writeFileSync(alive, "");
    host = new Map();
    asked = [];
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  function engine(tag: string): { ports: PortAllocator; leases: PortLeases } {
    const leases = new PortLeases(join(directory, "leases"), tag);
    const ports = new PortAllocator({
      leases,
      ephemeral: async () => ({ first: 40000, last: 40002 }),
      bindTest: async (port) => {
        asked.push(`${port.protocol} ${port.hostIp}:${port.hostPort}`);
        return host.get(`${port.hostIp}:${port.hostPort}`) ?? { kind: "free" };
      },
    });
    return { ports, leases };
  }

  function request(
    instanceId: string,
    ...specs: readonly (readonly [hostIp: string, first: number, last?: number])[]
  ): PortRequest {
    return {
      instanceId,
      instanceName: instanceId,
      endpointId: "e".repeat(64),
      netnsPath: alive,
      specs: specs.map(([hostIp, hostPort, hostPortEnd]) => ({
        containerPort: 80,
        protocol: "tcp",
        hostIp,
        hostPort,
        ...(hostPortEnd === undefined ? {} : { hostPortEnd }),
      })),
      defaultHostIp: "0.0.0.0",
      ipv4: "10.0.0.2",
      ipv6: "",
    };
  }

  it("are leased while other engines come and go with the same one", async () => {
    const leases = join(directory, "leases");
    const other = `
      import { PortLeases } from ${JSON.stringify(new URL("./port-leases.ts", import.meta.url).href)};
      const leases = new PortLeases(${JSON.stringify(leases)}, "bbbbbb");
      const end = performance.now() + 600;
      const pause = new Int32Array(new SharedArrayBuffer(4));
      while (performance.now() < end) {
        for (let i = 0; i < 20; i++) leases.release({ protocol: "tcp", hostIp: "10.0.0.2", hostPort: 80 });
        Atomics.wait(pause, 0, 0, 1);
      }`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", other], { stdio: "ignore" });
    const ended = once(child, "exit");
    const mine = { protocol: "tcp", hostIp: "10.0.0.1", hostPort: 80 } as const;
    const taker = new PortLeases(leases, "aaaaaa");
    while (child.exitCode === null) {
      for (let round = 0; round < 200; round++) {
        expect(taker.take(mine, alive)).toBe(true);
        taker.release(mine);
      }
      await nextTurn();
    }
    expect((await ended)[0]).toBe(0);
  });

  const numbers = (published: readonly { hostPort: number }[]): readonly number[] =>
    published.map(({ hostPort }) => hostPort);
  const leased = (): readonly string[] =>
    existsSync(join(directory, "leases")) ? readdirSync(join(directory, "leases")) : [];

  it("collide with the same address and with every address", () => {
    expect(collide("0.0.0.0", "127.0.0.1")).toBe(true);
    expect(collide("127.0.0.1", "127.0.0.2")).toBe(false);
    expect(collide("::", "0.0.0.0")).toBe(false);
    expect(collide("::", "fd00::1")).toBe(true);
  });

  it("are held by one instance at a time, on each address apart", async () => {
    const { ports } = engine("aaaaaa");
    await ports.allocate(request("a", ["127.0.0.1", 80]));
    await ports.allocate(request("b", ["127.0.0.2", 80]));
    await expect(ports.allocate(request("c", ["", 80]))).rejects.toThrow(
      `driver failed programming external connectivity on endpoint c (${"e".repeat(64)}): Bind for 0.0.0.0:80 failed: port is already allocated`,
    );
    ports.release("a", [{ containerPort: 80, protocol: "tcp", hostIp: "127.0.0.1", hostPort: 80 }]);
    ports.release("b", [{ containerPort: 80, protocol: "tcp", hostIp: "127.0.0.2", hostPort: 80 }]);
    expect(numbers(await ports.allocate(request("c", ["", 80])))).toEqual([80]);
  });

  it("without an address are every address's of both families, for a container that has both", async () => {
    const { ports } = engine("aaaaaa");
    const dual = (id: string, ...specs: Parameters<typeof request>[1][]) => ({
      ...request(id, ...specs),
      ipv6: "fd00::2",
    });
    const shown = (published: readonly { hostIp: string; hostPort: number }[]) =>
      published.map(({ hostIp, hostPort }) => `${hostIp} ${hostPort}`);
    expect(shown(await ports.allocate(dual("a", ["", 80], ["0.0.0.0", 81], ["", 0])))).toEqual([
      "0.0.0.0 80",
      ":: 80",
      "0.0.0.0 81",
      "0.0.0.0 40000",
      ":: 40000",
    ]);
    host.set(":::40001", { kind: "in-use" });
    expect(shown(await ports.allocate(dual("b", ["", 0])))).toEqual(["0.0.0.0 40002", ":: 40002"]);
    expect(leased()).not.toContain("tcp-40001");
    await expect(ports.allocate(dual("c", ["::1", 80]))).rejects.toThrow("Bind for [::1]:80 failed");
  });

  it("are all given back when one of them can't be had", async () => {
    const { ports } = engine("aaaaaa");
    host.set("0.0.0.0:82", { kind: "in-use" });
    await expect(ports.allocate(request("a", ["", 80], ["", 81], ["", 82]))).rejects.toThrow(
      "failed to bind host port for 0.0.0.0:82:10.0.0.2:80/tcp: address already in use",
    );
    expect(leased()).toEqual([]);
    host.clear();
    expect(numbers(await ports.allocate(request("b", ["", 80], ["", 81], ["", 82])))).toEqual([80, 81, 82]);
  });

  it("are all given back when the lease of one of them can't be written", async () => {
    const { ports } = engine("a");
    failpoints.arm("file.write#2=fail");
    await expect(ports.allocate(request("one", ["10.0.0.1", 80], ["10.0.0.1", 81]))).rejects.toThrow("EIO");
    failpoints.arm("");
    expect(leased()).toEqual([]);
    expect(numbers(await ports.allocate(request("two", ["10.0.0.1", 80], ["10.0.0.1", 81])))).toEqual([80, 81]);
  });

  it("go to one of two set-ups at the same time", async () => {
    const { ports } = engine("aaaaaa");
    const results = await Promise.allSettled(["a", "b"].map((id) => ports.allocate(request(id, ["", 80]))));
    expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  it("come from a range, or from the kernel's, past those in use; fixed ones first", async () => {
    const { ports } = engine("aaaaaa");
    host.set("0.0.0.0:90", { kind: "in-use" });
    expect(numbers(await ports.allocate(request("a", ["", 90, 92], ["", 0])))).toEqual([91, 40000]);
    expect(numbers(await ports.allocate(request("b", ["", 0], ["", 40001])))).toEqual([40001, 40002]);
    await expect(ports.allocate(request("c", ["", 0]))).rejects.toThrow("all ports are allocated in 40000-40002");
    await expect(ports.allocate(request("d", ["", 90, 91]))).rejects.toThrow("all ports are allocated in 90-91");
  });

  it("fail once for an address that is not the host's, however long the range", async () => {
    const { ports } = engine("aaaaaa");
    host.set("192.0.2.9:90", { kind: "refused", reason: "cannot assign requested address" });
    await expect(ports.allocate(request("a", ["192.0.2.9", 90, 99]))).rejects.toThrow(
      "cannot assign requested address",
    );
    expect(asked).toEqual(["tcp 192.0.2.9:90"]);
  });

  it("need an IPv6 address in the container to be published on one", async () => {
    await expect(engine("aaaaaa").ports.allocate(request("a", ["::1", 80]))).rejects.toThrow("no IPv6 address");
  });

  it("are not shared by two engines, until one has gone for good", async () => {
    const [one, two] = [engine("aaaaaa"), engine("bbbbbb")];
    await one.ports.allocate(request("a", ["", 80]));
    await expect(two.ports.allocate(request("b", ["127.0.0.1", 80]))).rejects.toMatchObject({
      code: "PORT_IN_USE",
      hint: "held by another engine of this host",
    });
    rmSync(alive);
    expect(numbers(await two.ports.allocate(request("b", ["127.0.0.1", 80])))).toEqual([80]);
  });

  it("are leased again for what runs, and given up for what doesn't, after a restart", async () => {
    const { ports, leases } = engine("aaaaaa");
    await ports.allocate(request("a", ["", 80], ["", 81]));
    rmSync(join(directory, "leases", "tcp-81"), { recursive: true });
    const port = { protocol: "tcp" as const, hostIp: "0.0.0.0" };
    leases.reconcile([{ port: { ...port, hostPort: 81 }, netnsPath: alive }]);
    expect(leased()).toEqual(["tcp-81"]);
    leases.reconcile([]);
    expect(leased()).toEqual([]);
  });
});

import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { background, withSignal } from "../base/op-context.ts";
import { LinePeer, type Script } from "./fake/line-peer.ts";
import { Monitors } from "./monitors.ts";
import { QmpClient } from "./qmp-client.ts";
import { waitForEvent } from "./wait-for-event.ts";

const ctx = background();
const greeting = { QMP: { version: { qemu: { major: 7, minor: 2, micro: 9 }, package: "" }, capabilities: ["oob"] } };
const start = (script: Script, hello: readonly (object | string)[] = [greeting]) =>
  LinePeer.start((request) => (request.execute === "qmp_capabilities" ? [{ return: {} }] : script(request)), hello);
const event = (name: string, data: object = {}) => ({
  event: name,
  data,
  timestamp: { seconds: 2, microseconds: 500 },
});

describe("a monitor", () => {
  it("is greeted, and says which QEMU it is", async () => {
    await using peer = await start(() => []);
    using qmp = await QmpClient.connect(ctx, peer.path);
    expect(qmp.version).toEqual({ major: 7, minor: 2, micro: 9 });
    expect(peer.asked).toEqual(["qmp_capabilities"]);
  });

  it("answers many commands at once, each to who asked", async () => {
    await using peer = await start(({ arguments: { n } }) => [{ return: n }]);
    using qmp = await QmpClient.connect(ctx, peer.path);
    const answers = await Promise.all([1, 2, 3].map((n) => qmp.execute(ctx, "echo", { n })));
    expect(answers).toEqual([1, 2, 3]);
  });

  it("refuses with QEMU's class and words", async () => {
    await using peer = await start(() => [{ error: { class: "DeviceNotFound", desc: "Device 'x' not found" } }]);
    using qmp = await QmpClient.connect(ctx, peer.path);
    await expect(qmp.execute(ctx, "device_del", { id: "x" })).rejects.toMatchObject({
      code: "QMP_REFUSED",
      errorClass: "DeviceNotFound",
      description: "Device 'x' not found",
    });
  });

  it("that does not answer costs the limit, and the connection stays good: a late answer is nobody's", async () => {
    let late: number | undefined;
    await using peer = await start((request) => {
      if (request.execute !== "slow") return [{ return: "fine" }];
      late = request.id;
      return [];
    });
    using qmp = await QmpClient.connect(ctx, peer.path);
    await expect(qmp.execute(ctx, "slow", {}, 30)).rejects.toMatchObject({ code: "QMP_SILENT" });
    peer.send({ return: "late", id: late });
    expect(await qmp.execute(ctx, "other")).toBe("fine");
  });

  it("is left by who gives up, with their reason", async () => {
    await using peer = await start(() => []);
    using qmp = await QmpClient.connect(ctx, peer.path);
    const caller = new AbortController();
    const asking = qmp.execute(withSignal(ctx, caller.signal), "slow");
    caller.abort(new Error("gone"));
    await expect(asking).rejects.toThrow("gone");
  });

  it("that goes away fails what was asked, at once and from then on", async () => {
    await using peer = await start(() => []);
    using qmp = await QmpClient.connect(ctx, peer.path);
    const asking = qmp.execute(ctx, "stop");
    asking.catch(() => {});
    await expect.poll(() => peer.asked).toContain("stop");
    peer.hangUp();
    await expect(asking).rejects.toMatchObject({ code: "QMP_LOST" });
    await expect(qmp.execute(ctx, "cont")).rejects.toMatchObject({ code: "QMP_LOST" });
    expect(await qmp.closed).toBe("the connection has ended");
  });

  it.each([
    ["no JSON", "hello\n"],
    ["no object", "[1]\n"],
    ["a line without an end", "x".repeat(9 * 1024 * 1024)],
  ])("that talks nonsense is left: %s", async (_, nonsense) => {
    await using peer = await start(() => [nonsense]);
    using qmp = await QmpClient.connect(ctx, peer.path);
    await expect(qmp.execute(ctx, "query-status")).rejects.toMatchObject({ code: "QMP_LOST" });
  });

  it("that never greets, or is not there, is an error of its own", async () => {
    await using peer = await start(() => [], []);
    await expect(QmpClient.connect(ctx, peer.path, 30)).rejects.toMatchObject({ code: "QMP_SILENT" });
    await expect(QmpClient.connect(ctx, `${peer.path}.not`)).rejects.toMatchObject({ code: "QMP_UNREACHABLE" });
  });

  it("tells events to all who listen, also in the middle of a command", async () => {
    await using peer = await start(() => [event("STOP"), event("RESUME", { a: 1 }), { return: {} }]);
    using qmp = await QmpClient.connect(ctx, peer.path);
    using first = qmp.events();
    using second = qmp.events();
    await qmp.execute(ctx, "stop");
    expect((await first.next()).value).toEqual({ name: "STOP", data: {}, atMs: 2000.5 });
    const found = await waitForEvent(ctx, second, ({ name }) => name === "RESUME", 1000);
    expect(found?.data).toEqual({ a: 1 });
  });

  it("ends a wait for an event that does not come, and a subscription with the connection", async () => {
    await using peer = await start(() => []);
    using qmp = await QmpClient.connect(ctx, peer.path);
    expect(await waitForEvent(ctx, qmp.events(), () => true, 20)).toBeUndefined();
    const names = (async () => {
      const all: string[] = [];
      for await (const { name } of qmp.events()) all.push(name);
      return all;
    })();
    peer.send(event("SHUTDOWN"));
    await delay(20);
    peer.hangUp();
    expect(await names).toEqual(["SHUTDOWN"]);
  });
});

describe("monitors", () => {
  it("share one connection while anybody uses it", async () => {
    await using peer = await start(() => [{ return: {} }]);
    const monitors = new Monitors();
    const [one, two] = await Promise.all([monitors.open(ctx, peer.path), monitors.open(ctx, peer.path)]);
    expect(peer.connections).toBe(1);
    one[Symbol.dispose]();
    one[Symbol.dispose]();
    await two.qmp.execute(ctx, "stop");
    two[Symbol.dispose]();
    expect(two.qmp.isClosed).toBe(true);
    using three = await monitors.open(ctx, peer.path);
    await three.qmp.execute(ctx, "cont");
    expect(peer.connections).toBe(2);
  });

  it("connect anew when QEMU has hung up", async () => {
    await using peer = await start(() => [{ return: {} }]);
    const monitors = new Monitors();
    using one = await monitors.open(ctx, peer.path);
    peer.hangUp();
    await one.qmp.closed;
    using two = await monitors.open(ctx, peer.path);
    await two.qmp.execute(ctx, "cont");
    expect(peer.connections).toBe(2);
  });
});

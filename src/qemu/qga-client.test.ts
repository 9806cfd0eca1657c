import { describe, expect, it } from "vitest";
import { background, withTimeout } from "../base/op-context.ts";
import { LinePeer, type Script } from "./fake/line-peer.ts";
import { runInGuest } from "./guest-exec.ts";
import { readSmallGuestFile, writeGuestFile } from "./guest-files.ts";
import { GuestAgent, GuestAgents } from "./qga-client.ts";

const ctx = background();
/** As qemu-ga does: 0xFF in front of the reply. */
const synced = (id: number) => Buffer.concat([Buffer.from([0xff]), Buffer.from(`${JSON.stringify({ return: id })}\n`)]);
const start = (script: Script) =>
  LinePeer.start((request) => {
    if (request.execute !== "guest-sync-delimited") return script(request);
    return [synced(request.arguments["id"])];
  });
const refusal = (desc: string) => ({ error: { class: "GenericError", desc } });

describe("the guest agent", () => {
  it("is asked over one connection, one thing after the other", async () => {
    await using peer = await start(() => [{ return: {} }]);
    const agents = new GuestAgents();
    using agent = agents.at(peer.path);
    expect(agents.at(peer.path)).toBe(agent);
    await Promise.all([agent.execute(ctx, "guest-ping"), agent.execute(ctx, "guest-ping")]);
    expect(peer.asked).toEqual(["guest-sync-delimited", "guest-ping", "guest-ping"]);
  });

  it("has stale answers to others dropped before the first of ours, half ones too", async () => {
    await using peer = await LinePeer.start(({ execute, arguments: args }) => {
      if (execute !== "guest-sync-delimited") return [{ return: "ours" }];
      const id: number = args["id"];
      return ['"x": 1}}\n', { return: "of another" }, synced(id + 1), '{"return": {"half', synced(id)];
    });
    using agent = new GuestAgent(peer.path);
    expect(await agent.execute(ctx, "guest-info")).toBe("ours");
  });

  it("that never answers is a named error within the limit, and is asked anew the next time", async () => {
    let silent = true;
    await using peer = await start(() => (silent ? [] : [{ return: {} }]));
    using agent = new GuestAgent(peer.path);
    await expect(agent.execute(ctx, "guest-ping", {}, 40)).rejects.toMatchObject({ code: "QGA_SILENT", status: 504 });
    expect(await agent.isThere(ctx, 40)).toBe(false);
    silent = false;
    expect(await agent.isThere(ctx)).toBe(true);
    expect(peer.connections).toBe(3);
  });

  it("that is not there, refuses, hangs up or lies says which", async () => {
    using nobody = new GuestAgent("/nonexistent/qga.sock");
    await expect(nobody.execute(ctx, "guest-ping")).rejects.toMatchObject({ code: "QGA_UNREACHABLE" });
    await using peer = await start(({ execute }) => {
      if (execute === "guest-info") return [refusal("no such command")];
      if (execute === "guest-fsfreeze-status") return [{ return: 7 }];
      if (execute === "guest-network-get-interfaces") return [{ return: [{ name: 3 }] }];
      return ["[]\n"];
    });
    using agent = new GuestAgent(peer.path);
    await expect(agent.info(ctx)).rejects.toMatchObject({ code: "QGA_REFUSED", description: "no such command" });
    await expect(agent.isFrozen(ctx)).rejects.toMatchObject({ code: "QGA_REPLY_INVALID" });
    await expect(agent.interfaces(ctx)).rejects.toThrow("name is no string");
    await expect(agent.thaw(ctx)).rejects.toMatchObject({ code: "QGA_LOST" });
  });

  it("is left alone when nobody asks it for a while", async () => {
    await using peer = await start(() => [{ return: {} }]);
    let isIdle = false;
    using agent = new GuestAgent(peer.path, { idleMs: 20, onIdle: () => (isIdle = true) });
    await agent.execute(ctx, "guest-ping");
    await expect.poll(() => isIdle).toBe(true);
    await agent.execute(ctx, "guest-ping");
    expect(peer.connections).toBe(2);
  });

  it("tells the guest's addresses", async () => {
    const lo = { name: "lo", "ip-addresses": [{ "ip-address": "127.0.0.1", prefix: 8, "ip-address-type": "ipv4" }] };
    const eth0 = { name: "eth0", "hardware-address": "52:54:00:00:00:01" };
    await using peer = await start(() => [{ return: [lo, eth0] }]);
    using agent = new GuestAgent(peer.path);
    expect(await agent.interfaces(ctx)).toEqual([
      { name: "lo", mac: "", addresses: ["127.0.0.1/8"] },
      { name: "eth0", mac: "52:54:00:00:00:01", addresses: [] },
    ]);
  });

  it("does not answer to a shutdown that it begins, and does to one that it refuses", async () => {
    let refuses = false;
    await using peer = await start(() => (refuses ? [refusal("not supported")] : []));
    using agent = new GuestAgent(peer.path);
    await agent.shutdown(ctx);
    refuses = true;
    await expect(agent.shutdown(ctx)).rejects.toThrow("not supported");
  });

  it("sets the clock in nanoseconds that JSON can say", async () => {
    let time = "";
    await using peer = await start(({ arguments: args }) => {
      time = JSON.stringify(args);
      return [{ return: {} }];
    });
    using agent = new GuestAgent(peer.path);
    await agent.setTime(ctx, 1_763_000_000_123);
    expect(time).toBe('{"time":1763000000123000000}');
  });

  it("brings into use what was plugged in", async () => {
    const online: unknown[] = [];
    await using peer = await start(({ execute, arguments: args }) => {
      if (execute === "guest-get-vcpus") {
        const cpu = (id: number, isOnline: boolean) => ({ "logical-id": id, online: isOnline, "can-offline": true });
        return [{ return: [cpu(0, true), cpu(1, false)] }];
      }
      if (execute === "guest-get-memory-blocks") return [{ return: [{ "phys-index": 4, online: false }] }];
      online.push(args);
      return [{ return: 1 }];
    });
    using agent = new GuestAgent(peer.path);
    expect(await agent.onlineCpus(ctx)).toBe(2);
    expect(await agent.onlineMemory(ctx)).toBe(1);
    expect(online).toEqual([
      { vcpus: [{ "logical-id": 1, online: true }] },
      { "mem-blks": [{ "phys-index": 4, online: true }] },
    ]);
  });
});

describe("a command in the guest", () => {
  it("is waited for, and has its output, exit code and input", async () => {
    let polls = 0;
    let input = "";
    await using peer = await start(({ execute, arguments: args }) => {
      if (execute === "guest-exec") {
        input = Buffer.from(args["input-data"], "base64").toString();
        return [{ return: { pid: 7 } }];
      }
      polls++;
      const output = Buffer.from("out").toString("base64");
      return [{ return: polls < 3 ? { exited: false } : { exited: true, exitcode: 3, "out-data": output } }];
    });
    using agent = new GuestAgent(peer.path);
    const exit = await runInGuest(ctx, agent, { argv: ["cat"], input: Buffer.from("in") });
    expect(exit).toMatchObject({ code: 3, signal: 0, isTruncated: false });
    expect(exit.stdout.toString()).toBe("out");
    expect(input).toBe("in");
  });

  it("that was killed has the signal; one that does not end is left at the caller's limit", async () => {
    await using peer = await start(({ execute, arguments: { pid } }) => {
      if (execute === "guest-exec") return [{ return: { pid: 1 } }];
      return [{ return: { exited: pid === 1, signal: 9 } }];
    });
    using agent = new GuestAgent(peer.path);
    expect(await runInGuest(ctx, agent, { argv: ["x"] })).toMatchObject({ code: 137, signal: 9 });
    await using endless = await start(({ execute }) => [
      { return: execute === "guest-exec" ? { pid: 2 } : { exited: false } },
    ]);
    using other = new GuestAgent(endless.path);
    await expect(runInGuest(withTimeout(ctx, 80), other, { argv: ["sleep"] })).rejects.toThrow("timeout");
  });
});

describe("a file of the guest", () => {
  it("is read in pieces, and closed also when it is too large", async () => {
    const closed: number[] = [];
    let reads = 0;
    await using peer = await start(({ execute, arguments: { handle } }) => {
      if (execute === "guest-file-open") return [{ return: 1000 }];
      if (execute === "guest-file-close") {
        closed.push(handle);
        return [{ return: {} }];
      }
      reads++;
      return [{ return: { count: 3, "buf-b64": Buffer.from("abc").toString("base64"), eof: reads % 2 === 0 } }];
    });
    using agent = new GuestAgent(peer.path);
    expect((await readSmallGuestFile(ctx, agent, "/f", 6)).toString()).toBe("abcabc");
    await expect(readSmallGuestFile(ctx, agent, "/f", 5)).rejects.toMatchObject({ code: "GUEST_FILE_TOO_LARGE" });
    expect(closed).toEqual([1000, 1000]);
  });

  it("is written in what pieces the guest takes; a guest that takes none is refused", async () => {
    let written = "";
    let takes = 2;
    await using peer = await start(({ execute, arguments: args }) => {
      if (execute === "guest-file-open") return [{ return: 5 }];
      if (execute !== "guest-file-write") return [{ return: {} }];
      const bytes = Buffer.from(args["buf-b64"], "base64").subarray(0, takes);
      written += bytes.toString();
      return [{ return: { count: bytes.length, eof: false } }];
    });
    using agent = new GuestAgent(peer.path);
    await writeGuestFile(ctx, agent, "/f", [Buffer.from("hello")]);
    expect(written).toBe("hello");
    expect(peer.asked.slice(-2)).toEqual(["guest-file-flush", "guest-file-close"]);
    takes = 0;
    await expect(writeGuestFile(ctx, agent, "/f", [Buffer.from("x")])).rejects.toMatchObject({
      code: "QGA_REPLY_INVALID",
    });
    expect(peer.asked.at(-1)).toBe("guest-file-close");
  });
});

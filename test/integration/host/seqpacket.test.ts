import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import type { Child, Host } from "../../../src/host/host.ts";
import { openHost } from "./linux-host.ts";

/** Sends 300 packets, then counts what comes until the other side has shut its sending, answers with the count and closes. */
const server = `
import os, socket, sys
os.chdir(sys.argv[1])
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind("attach")
listener.listen(1)
open("ready", "w").close()
peer, _ = listener.accept()
for i in range(300):
    peer.send(bytes([2]) + str(i).encode().ljust(8191))
packets = length = 0
while data := peer.recv(65536):
    packets += 1
    length += len(data)
peer.send(b"%d packets of %d bytes" % (packets, length))
`;

/** Listens; once told to, it takes a client, sends it three packets and closes without having read anything; or it ends at once. */
const lateServer = `
import os, socket, sys, time
os.chdir(sys.argv[1])
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind("attach")
listener.listen(1)
open("ready", "w").close()
while not os.path.exists("go"):
    time.sleep(0.01)
if open("go").read() == "leave":
    sys.exit()
peer, _ = listener.accept()
for word in (b"one", b"two", b"three"):
    peer.send(word)
`;

const ctx = background();
let host: Host;
let directory: string;

beforeAll(async () => {
  host = await openHost();
  directory = mkdtempSync(join(tmpdir(), "berth-seqpacket-"));
});

afterAll(async () => {
  await host.close();
  rmSync(directory, { recursive: true });
});

async function startServer(
  name: string,
  program = server,
): Promise<{ readonly path: string; readonly child: Child; readonly tell: (word: string) => void }> {
  const place = join(directory, name);
  mkdirSync(place);
  writeFileSync(join(place, "server.py"), program);
  const tell = (word: string) => {
    writeFileSync(join(place, "word"), word);
    renameSync(join(place, "word"), join(place, "go"));
  };
  const argv = ["python3", join(place, "server.py"), place] as const;
  const child = await host.processes.spawn(ctx, { argv, env: { PATH: "/usr/bin" } });
  await expect.poll(() => host.kernel.readInRoot(place, "ready", 1), { timeout: 10_000 }).toBeDefined();
  return { path: join(place, "attach"), child, tell };
}

describe("connectSeqpacket", () => {
  it("keeps packets and their order both ways, through a path longer than an address holds", async () => {
    const { path, child } = await startServer("x".repeat(200));
    const socket = await host.sockets.connectSeqpacket(ctx, path);
    // More than the socket's buffer takes: later ones wait.
    const sent = Promise.all(Array.from({ length: 400 }, () => socket.send(Buffer.alloc(4000))));
    const received: Buffer[] = [];
    // Slowly, so that the sender is held up.
    for await (const packet of socket.packets) {
      received.push(packet);
      if (received.length === 1) await new Promise((resolve) => setTimeout(resolve, 50));
      if (received.length === 300) {
        await sent;
        socket.shutdownWrite();
      }
    }
    expect(received.slice(0, 300).map((packet) => Number(packet.toString("latin1", 1).trim()))).toEqual([
      ...Array(300).keys(),
    ]);
    expect(received.every((packet, i) => i === 300 || packet.length === 8192)).toBe(true);
    expect(received[300]?.toString()).toBe("400 packets of 1600000 bytes");
    expect(await child.exited).toEqual({ code: 0, signal: 0 });
    await expect(socket.send(Buffer.of(1))).rejects.toMatchObject({ code: "SOCKET_FAILED" });
  });

  it("closes at once, with sends that wait", async () => {
    const { path, child } = await startServer("closing");
    const socket = await host.sockets.connectSeqpacket(ctx, path);
    const results = Promise.allSettled(Array.from({ length: 400 }, () => socket.send(Buffer.alloc(4000))));
    socket.close();
    socket.close();
    const settled = await results;
    expect(settled.at(-1)?.status).toBe("rejected");
    expect(socket.packets.destroyed).toBe(true);
    host.processes.signal(child.identity, 9);
    await child.exited;
  });

  it("waits until a listener that is late has taken the connection", async () => {
    const { path, child, tell } = await startServer("late", lateServer);
    const connecting = host.sockets.connectSeqpacket(ctx, path, child.identity.pid);
    expect(await Promise.race([connecting.then(() => "taken"), sleep(300, "queued")])).toBe("queued");
    tell("accept");
    const socket = await connecting;
    expect((await socket.packets.toArray()).map(String)).toEqual(["one", "two", "three"]);
    await child.exited;
  });

  it("says so when the listener leaves without taking the connection, and gives up with its caller", async () => {
    const { path, child, tell } = await startServer("leaving", lateServer);
    const given = new AbortController();
    const givenUp = host.sockets.connectSeqpacket({ ...ctx, signal: given.signal }, path, child.identity.pid);
    const connecting = host.sockets.connectSeqpacket(ctx, path, child.identity.pid);
    setTimeout(() => given.abort(), 100);
    await expect(givenUp).rejects.toMatchObject({ name: "AbortError" });
    tell("leave");
    await expect(connecting).rejects.toThrow(`connect ${path}: ECONNRESET`);
    await child.exited;
  });

  it("gives what was sent before the other side closed with packets of ours unread", async () => {
    const { path, child, tell } = await startServer("unread", lateServer);
    const socket = await host.sockets.connectSeqpacket(ctx, path);
    await socket.send(Buffer.from("nobody reads this"));
    tell("accept");
    await child.exited;
    expect((await socket.packets.toArray()).map(String)).toEqual(["one", "two", "three"]);
  });

  it("says why it can't connect", async () => {
    const path = join(directory, "nobody");
    await expect(host.sockets.connectSeqpacket(ctx, path)).rejects.toThrow(`connect ${path}: ENOENT`);
    writeFileSync(path, "");
    await expect(host.sockets.connectSeqpacket(ctx, path)).rejects.toThrow(/ECONNREFUSED/);
    await expect(host.sockets.connectSeqpacket(ctx, "/no/such/directory/s")).rejects.toThrow(/ENOENT/);
  });
});

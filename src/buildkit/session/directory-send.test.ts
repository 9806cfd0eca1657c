/** The sender against a client of the tests' own, over gRPC on a real socket pair. */
import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { ConfinedRoot, ListedFile } from "../../archive/confined-root.ts";
import { background } from "../../base/op-context.ts";
import { frame, messagesOf } from "../grpc/framing.ts";
import { BytesMessage, Packet, packetType } from "../wire/session.ts";
import { sendDirectory } from "./directory-send.ts";
import { fileSendMethod, sendBytes } from "./file-send.ts";
import { type ClientSession, Sessions } from "./sessions.ts";

type Client = (stream: ServerHttp2Stream) => Promise<void>;

const closing: (() => void)[] = [];
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-send-"));
});
afterEach(() => {
  for (const close of closing.splice(0)) close();
  rmSync(directory, { recursive: true });
});

async function sessionWith(client: Client, methods: readonly string[] = [fileSendMethod]): Promise<ClientSession> {
  const server: Http2Server = createServer();
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => {});
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    client(stream).catch(() => stream.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const sessions = new Sessions();
  const serving = sessions.serve("s", methods, socket);
  closing.push(() => {
    socket.destroy();
    server.close();
    void serving;
  });
  return await sessions.get(background(), "s");
}

function finish(stream: ServerHttp2Stream, status = "0", message = ""): void {
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": status, "grpc-message": message }));
  stream.end();
}

const file = (path: string, size: number, more: Partial<ListedFile> = {}): ListedFile => ({
  path,
  kind: "file",
  mode: 0o4644,
  uid: 7,
  gid: 8,
  size,
  mtimeNs: 1_700_000_000_000_000_000n,
  deviceMajor: 0,
  deviceMinor: 0,
  identity: path,
  opaque: false,
  capability: "",
  ...more,
});

const send = (session: ClientSession, files: readonly ListedFile[]): Promise<void> => {
  const root: Partial<ConfinedRoot> = { list: async () => files };
  const view = { root: root as ConfinedRoot, directory };
  return sendDirectory(background(), session, view, { exporter: 0, progress: () => {} });
};

it("offers everything and sends what it is asked for, in whatever order", async () => {
  for (const name of ["a", "b", "c"]) writeFileSync(join(directory, name), name.repeat(600_000));
  symlinkSync("../up", join(directory, "link"));
  const stats: unknown[] = [];
  const received = new Map<number, Buffer[]>();
  const session = await sessionWith(async (stream) => {
    const reply = (packet: Partial<Packet>): void => void stream.write(frame(Packet.encode(packet)));
    let open = 0;
    for await (const bytes of messagesOf(stream, 16 << 20)) {
      const { type, stat, ID, data } = Packet.decode(bytes);
      if (type === packetType.end) break;
      if (type === packetType.stat && stat !== undefined) stats.push({ ...stat, xattrs: { ...stat.xattrs } });
      // Not the first one: a client need not want all.
      if (type === packetType.stat && stat === undefined) {
        for (const id of [4, 1]) {
          received.set(id, []);
          reply({ type: packetType.request, ID: id });
          open++;
        }
      }
      if (type !== packetType.data) continue;
      if (data.length > 0) received.get(ID)?.push(Buffer.from(data));
      else if (--open === 0) reply({ type: packetType.end });
    }
    finish(stream);
  });
  await send(session, [
    file("a", 600_000),
    file("b", 600_000),
    file("link", 6, { kind: "symlink", mode: 0o777 }),
    file("again", 600_000, { identity: "a" }),
    file("c", 600_000, { capability: "0100" }),
    file("socket", 0, { kind: "socket" }),
  ]);
  expect(stats).toHaveLength(5);
  expect(stats[0]).toMatchObject({ path: "a", mode: 0x80_0000 + 0o644, uid: 7, size: 600_000, modTime: 1.7e18 });
  expect(stats[2]).toMatchObject({ path: "link", mode: 0x0800_0000 + 0o777, linkname: "../up", size: 0 });
  expect(stats[3]).toMatchObject({ path: "again", linkname: "a", size: 0 });
  expect(stats[4]).toMatchObject({ xattrs: { "security.capability": Buffer.from([1, 0]) } });
  expect([...received].map(([id, pieces]) => [id, Buffer.concat(pieces).toString()])).toEqual([
    [4, "c".repeat(600_000)],
    [1, "b".repeat(600_000)],
  ]);
});

it.each([
  ["asks for what is no file", 9, /file 9 has no answer/],
  ["asks for a link's content", 1, /file 1 has no answer/],
])("gives up on a client that %s", async (_what, id, reason) => {
  symlinkSync("x", join(directory, "link"));
  const session = await sessionWith(async (stream) => {
    stream.write(frame(Packet.encode({ type: packetType.request, ID: id })));
    stream.resume();
  });
  await expect(send(session, [file("a", 1), file("link", 1, { kind: "symlink" })])).rejects.toThrow(reason);
});

it("tells why the client gave up, and what it left early", async () => {
  const full = await sessionWith(async (stream) => finish(stream.resume(), "2", "no space left on device"));
  await expect(send(full, [file("a", 1)])).rejects.toThrow(/no space left on device/);
  const gone = await sessionWith(async (stream) => finish(stream.resume()));
  await expect(send(gone, [file("a", 1)])).rejects.toThrow(/ended it early/);
  const none = await sessionWith(async () => {}, []);
  await expect(send(none, [file("a", 1)])).rejects.toThrow(/takes no files/);
});

it("refuses a name that the protocol has no form for", async () => {
  const session = await sessionWith(async (stream) => void stream.resume());
  await expect(send(session, [file("a\uFFFD", 1)])).rejects.toThrow(/not UTF-8/);
});

it("sends bytes, and ends its source when the client goes", async () => {
  let taken = 0;
  const session = await sessionWith(async (stream) => {
    for await (const bytes of messagesOf(stream, 16 << 20)) taken += BytesMessage.decode(bytes).data.length;
    finish(stream);
  });
  const open = async () => Readable.from([Buffer.alloc(3 << 20), Buffer.from("x")]);
  const request = { exporter: 0, progress: () => {}, open };
  await sendBytes(background(), session, request);
  expect(taken).toBe((3 << 20) + 1);

  const source = new Readable({
    read() {
      this.push(Buffer.alloc(1 << 20));
    },
  });
  let produced = 0;
  const leaving = await sessionWith(async (stream) => {
    for await (const _bytes of messagesOf(stream, 16 << 20)) break;
    // Takes nothing for a while: what is in the way is bounded.
    await new Promise((resolve) => setTimeout(resolve, 100));
    finish(stream, "2", "disk full");
    stream.resume();
  });
  const progress = (bytes: number): void => void (produced = bytes);
  await expect(sendBytes(background(), leaving, { exporter: 0, progress, open: async () => source })).rejects.toThrow(
    /disk full/,
  );
  expect(produced).toBeLessThan(32 << 20);
  expect(source.destroyed).toBe(true);
});

/** The receiver against a client of the tests' own, over gRPC on a real socket pair: what it takes, and what it refuses. */
import { once } from "node:events";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { background } from "../../base/op-context.ts";
import { frame, messagesOf } from "../grpc/framing.ts";
import { Packet, packetType, type Stat } from "../wire/session.ts";
import { syncedFiles, syncedTar } from "./file-sync.ts";
import { type ClientSession, Sessions } from "./sessions.ts";

const directory = 0x8000_0000 + 0o755;
const symlink = 0x0800_0000 + 0o777;

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** A session whose client sends these files; `contents` by path. */
async function sessionOf(
  stats: readonly Partial<Stat>[],
  contents: Readonly<Record<string, string>> = {},
): Promise<{ readonly session: ClientSession; readonly headers: Record<string, unknown>[] }> {
  const headers: Record<string, unknown>[] = [];
  const server: Http2Server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, sent) => {
    headers.push(sent);
    stream.on("error", () => {});
    void serveFiles(stream, stats, contents).catch(() => stream.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const socket: Socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const sessions = new Sessions();
  const serving = sessions.serve("s", ["/moby.filesync.v1.FileSync/DiffCopy"], socket);
  closing.push(() => {
    socket.destroy();
    server.close();
    void serving;
  });
  return { session: await sessions.get(background(), "s"), headers };
}

async function serveFiles(
  stream: ServerHttp2Stream,
  stats: readonly Partial<Stat>[],
  contents: Readonly<Record<string, string>>,
): Promise<void> {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  const send = (packet: Partial<Packet>): void => void stream.write(frame(Packet.encode(packet)));
  for (const stat of stats)
    send({ type: packetType.stat, stat: { ...Packet.decode(new Uint8Array()).stat, ...stat } as Stat });
  send({ type: packetType.stat });
  for await (const bytes of messagesOf(stream, 1 << 20)) {
    const { type, ID } = Packet.decode(bytes);
    if (type === packetType.end) {
      send({ type: packetType.end });
      stream.end();
      return;
    }
    const data = Buffer.from(contents[stats[ID]?.path ?? ""] ?? "");
    // In two pieces, so that they come between those of others.
    send({ type: packetType.data, ID, data: data.subarray(0, 3) });
    if (data.length > 3) send({ type: packetType.data, ID, data: data.subarray(3) });
    send({ type: packetType.data, ID });
  }
}

async function tarOf(session: ClientSession): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of syncedTar(background(), session, { name: "context", excludePatterns: ["é"] }))
    pieces.push(piece);
  return Buffer.concat(pieces).toString("latin1");
}

it("makes a tar of the client's files, and tells it what to leave out", async () => {
  const files = Array.from({ length: 100 }, (_, index) => ({
    path: `d/${String(index).padStart(3, "0")}`,
    mode: 0o644,
    size: 5,
  }));
  const { session, headers } = await sessionOf(
    [{ path: "d", mode: directory }, ...files, { path: "link", mode: symlink, linkname: "d/000" }],
    Object.fromEntries(files.map(({ path }) => [path, path])),
  );
  const tar = await tarOf(session);
  for (const { path } of files) expect(tar).toContain(path);
  expect(tar.length % 512).toBe(0);
  expect(headers[0]).toMatchObject({
    "dir-name": "context",
    "exclude-patterns": "%C3%A9",
    "exclude-patterns-encoded": "1",
  });
});

it("cuts off what a file has grown by since it was listed", async () => {
  const { session } = await sessionOf([{ path: "log", mode: 0o644, size: 4 }], { log: "12345678" });
  const tar = await tarOf(session);
  expect(tar).toContain("1234");
  expect(tar).not.toContain("5678");
});

it("refuses a file that became shorter", async () => {
  const { session } = await sessionOf([{ path: "f", mode: 0o644, size: 9 }], { f: "12" });
  await expect(tarOf(session)).rejects.toThrow(/became shorter/);
});

it.each(["/etc/passwd", "../up", "a/../../up", ".", "", "a\0b"])("refuses the path %j", async (path) => {
  const { session } = await sessionOf([
    { path, mode: 0o644, size: 0 },
    { path: "x", mode: 0o644 },
  ]);
  await expect(tarOf(session)).rejects.toThrow(/no path inside the directory/);
});

it("refuses a hard link that leads out", async () => {
  const { session } = await sessionOf([{ path: "f", mode: 0o644, linkname: "../../etc/shadow" }]);
  await expect(tarOf(session)).rejects.toThrow(/no path inside the directory/);
});

it("reads single files, through links that stay inside", async () => {
  const { session } = await sessionOf(
    [
      { path: "Dockerfile", mode: symlink, linkname: "real/Dockerfile" },
      { path: "real", mode: directory },
      { path: "real/Dockerfile", mode: 0o644, size: 12 },
    ],
    { "real/Dockerfile": "FROM scratch" },
  );
  const files = await syncedFiles(
    background(),
    session,
    { name: "dockerfile", followPaths: ["Dockerfile", "none"] },
    100,
  );
  expect(new Map([...files].map(([path, content]) => [path, content.toString()]))).toEqual(
    new Map([["Dockerfile", "FROM scratch"]]),
  );
});

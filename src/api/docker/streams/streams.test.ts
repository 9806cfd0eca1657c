/** Connections that leave HTTP and answers that never end, over a real socket. */
import { mkdtemp, rm, stat } from "node:fs/promises";
import * as http from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import Docker from "dockerode";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLogger } from "../../../base/logger.ts";
import { createDockerApi } from "../api.ts";
import { type FakeBackend, fakeBackend } from "../fake/fake-backend.ts";
import { listen, type Listening } from "../listen.ts";

let directory: string;
let socketPath: string;
let backend: FakeBackend;
let served: Listening;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "berth-api-"));
  socketPath = join(directory, "docker.sock");
  backend = fakeBackend();
  backend.images.add("busybox", { Cmd: ["sh"] });
  served = await listen(createDockerApi({ backend, log: silentLogger }), [`unix://${socketPath}`]);
});

afterEach(async () => {
  await served[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

async function post(path: string, body?: object): Promise<{ readonly status: number; readonly body: string }> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
  const headers = payload === undefined ? {} : { "Content-Type": "application/json" };
  const request = http.request({ socketPath, method: "POST", path, headers }, (response) => {
    let text = "";
    response.on("data", (chunk: Buffer) => (text += chunk.toString()));
    response.on("end", () => resolve({ status: response.statusCode ?? 0, body: text }));
  });
  request.once("error", reject);
  request.end(payload);
  return await promise;
}

async function create(name: string, command: readonly string[], body: object = {}): Promise<string> {
  const answer = await post(`/containers/create?name=${name}`, { Image: "busybox", Cmd: command, ...body });
  expect(answer.status).toBe(201);
  return backend.instances.resolve(name).id;
}

/** A client that speaks HTTP by hand, and collects what comes. */
class RawClient {
  readonly socket: Socket;
  received = Buffer.alloc(0);
  ended = false;

  constructor(head: readonly string[], body = "") {
    this.socket = connect({ path: socketPath, allowHalfOpen: true });
    this.socket.on("data", (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
    });
    this.socket.on("end", () => {
      this.ended = true;
    });
    this.socket.on("error", () => {});
    this.socket.write(`${head.join("\r\n")}\r\nHost: d\r\n\r\n${body}`);
  }

  get head(): string {
    return this.received.toString("latin1").split("\r\n\r\n", 1)[0] ?? "";
  }

  get body(): Buffer {
    return this.received.subarray(this.head.length + 4);
  }

  async until(condition: () => boolean): Promise<void> {
    const deadline = Date.now() + 5000;
    while (!condition()) {
      if (Date.now() > deadline)
        throw new Error(`nothing came of it; received ${JSON.stringify(this.received.toString())}`);
      await delay(5);
    }
  }
}

const upgrade = (method: string, path: string, ...more: readonly string[]) => [
  `${method} ${path} HTTP/1.1`,
  "Connection: Upgrade",
  "Upgrade: tcp",
  ...more,
];

const frame = (stream: 1 | 2, text: string) =>
  Buffer.concat([Buffer.from([stream, 0, 0, 0, 0, 0, 0, text.length]), Buffer.from(text)]);

describe("attach", () => {
  it("upgrades, frames both streams, and closes when the process ends", async () => {
    await create("c", ["both"]);
    const client = new RawClient(upgrade("POST", "/v1.51/containers/c/attach?stream=1&stdout=1&stderr=1"));
    await client.until(() => client.head.includes("101"));
    expect(client.head).toMatch(/^HTTP\/1\.1 101 UPGRADED\r\n/);
    expect(client.head).toContain("Content-Type: application/vnd.docker.multiplexed-stream");
    expect(client.head).toContain("Connection: Upgrade\r\nUpgrade: tcp");
    await post("/containers/c/start");
    await client.until(() => client.ended);
    expect(client.body).toEqual(Buffer.concat([frame(1, "out\n"), frame(2, "err\n")]));
    client.socket.destroy();
  });

  it.each([
    ["1.41", false],
    ["1.51", true],
  ])("says raw-stream to version %s with terminal %s", async (version, Tty) => {
    await create("c", ["echo", "x"], { Tty });
    const client = new RawClient(upgrade("POST", `/v${version}/containers/c/attach?stream=1&stdout=1`));
    await client.until(() => client.head.includes("101"));
    expect(client.head).toContain("Content-Type: application/vnd.docker.raw-stream");
    await post("/containers/c/start");
    await client.until(() => client.ended);
    expect(client.body).toEqual(Tty ? Buffer.from("x\n") : frame(1, "x\n"));
    client.socket.destroy();
  });

  it("answers 200 and a body without an end to a client that does not upgrade", async () => {
    await create("c", ["echo", "x"]);
    const client = new RawClient(["POST /containers/c/attach?stream=1&stdout=1 HTTP/1.1", "Content-Length: 0"]);
    await client.until(() => client.head.includes("200 OK"));
    expect(client.head.toLowerCase()).toContain("content-type: application/vnd.docker.raw-stream");
    expect(client.head.toLowerCase()).not.toContain("transfer-encoding");
    await post("/containers/c/start");
    await client.until(() => client.ended);
    expect(client.body).toEqual(frame(1, "x\n"));
    client.socket.destroy();
  });

  it("passes a half-close on as the end of input, and still sends what comes after", async () => {
    await create("c", ["cat"], { OpenStdin: true, StdinOnce: true });
    await post("/containers/c/start");
    const client = new RawClient(upgrade("POST", "/containers/c/attach?stream=1&stdin=1&stdout=1"));
    await client.until(() => client.head.includes("101"));
    client.socket.end("last words");
    await client.until(() => client.ended);
    expect(client.body).toEqual(frame(1, "last words"));
    expect(backend.instances.resolve("c").state).toMatchObject({ status: "exited", exitCode: 0 });
  });

  it("takes no chunk of an empty body for input", async () => {
    await create("c", ["cat"], { OpenStdin: true, StdinOnce: true });
    const head = upgrade("POST", "/containers/c/attach?stream=1&stdin=1&stdout=1", "Transfer-Encoding: chunked");
    const client = new RawClient(head, "0\r\n\r\n");
    await client.until(() => client.head.includes("101"));
    await post("/containers/c/start");
    client.socket.end("typed");
    await client.until(() => client.ended);
    expect(client.body).toEqual(frame(1, "typed"));
  });

  it("detaches by keys, given or default, and leaves the process running", async () => {
    await create("c", ["cat"], { OpenStdin: true, Tty: true });
    await post("/containers/c/start");
    for (const [query, keys] of [
      ["", "\u0010\u0011"],
      ["&detachKeys=ctrl-a,x", "\u0001x"],
    ] as const) {
      const client = new RawClient(upgrade("POST", `/containers/c/attach?stream=1&stdin=1&stdout=1${query}`));
      await client.until(() => client.head.includes("101"));
      client.socket.write(`a${keys}b`);
      await client.until(() => client.ended);
      expect(client.body.toString()).toMatch(/^a?$/);
      client.socket.destroy();
    }
    expect(backend.instances.resolve("c").state.status).toBe("running");
  });

  it("refuses as plain HTTP, also on a connection that asked for an upgrade", async () => {
    await create("c", ["cat"]);
    for (const [path, status] of [
      ["/containers/nope/attach?stream=1", 404],
      ["/containers/c/attach?stream=1&detachKeys=foo", 400],
      ["/v1.99/containers/c/attach", 400],
      ["/nope", 404],
    ] as const) {
      const client = new RawClient(upgrade("POST", path));
      await client.until(() => client.ended);
      expect(client.head).toContain(`HTTP/1.1 ${status} `);
      expect(client.body.toString()).toContain('{"message":');
      client.socket.destroy();
    }
  });

  it("holds back a process whose client does not read, instead of filling memory", async () => {
    await create("c", ["flood", "256"]);
    const client = new RawClient(upgrade("POST", "/containers/c/attach?stream=1&stdout=1"));
    await client.until(() => client.head.includes("101"));
    client.socket.pause();
    await post("/containers/c/start");
    const before = process.memoryUsage.rss();
    await delay(500);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
    expect(backend.instances.resolve("c").state.status).toBe("running");
    // It leaves: the process goes on without it.
    client.socket.destroy();
    await client.until(() => backend.instances.resolve("c").state.status === "exited");
  });

  it("speaks WebSocket", async () => {
    await create("c", ["cat"], { OpenStdin: true, StdinOnce: true });
    await post("/containers/c/start");
    const client = new RawClient([
      "GET /v1.51/containers/c/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1",
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]);
    await client.until(() => client.head.includes("101"));
    // RFC 6455, section 1.3: the answer to this very key.
    expect(client.head).toContain("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    const mask = Buffer.from([1, 2, 3, 4]);
    const masked = Buffer.from("hello").map((byte, index) => byte ^ (mask[index % 4] ?? 0));
    client.socket.write(Buffer.concat([Buffer.from([0x82, 0x80 | 5]), mask, masked]));
    await client.until(() => client.body.length >= 7);
    expect(client.body).toEqual(Buffer.concat([Buffer.from([0x82, 5]), Buffer.from("hello")]));
    client.socket.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0]));
    await client.until(() => client.ended);
    client.socket.destroy();
  });
});

describe("exec", () => {
  async function exec(name: string, body: object): Promise<string> {
    const answer = await post(`/containers/${name}/exec`, body);
    expect(answer.status).toBe(201);
    return (JSON.parse(answer.body) as { Id: string }).Id;
  }
  const start = (id: string, body: object) => {
    const text = JSON.stringify(body);
    const headers = ["Content-Type: application/json", `Content-Length: ${text.length}`];
    return new RawClient(upgrade("POST", `/exec/${id}/start`, ...headers), text);
  };

  beforeEach(async () => {
    await create("c", ["sleep"]);
    await post("/containers/c/start");
  });

  it("reads a body that comes before the upgrade, and runs", async () => {
    const id = await exec("c", { Cmd: ["cat"], AttachStdin: true, AttachStdout: true });
    const client = start(id, { Detach: false, Tty: false });
    await client.until(() => client.head.includes("101"));
    client.socket.end("hello");
    await client.until(() => client.ended);
    expect(client.body).toEqual(frame(1, "hello"));
    const state = await new Promise<string>((resolve) =>
      http.get({ socketPath, path: `/exec/${id}/json` }, (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString())).on("end", () => resolve(text));
      }),
    );
    expect(JSON.parse(state)).toMatchObject({ Running: false, ExitCode: 0, ProcessConfig: { entrypoint: "cat" } });
  });

  it("reads a chunked body before the upgrade, and takes what follows for input", async () => {
    const id = await exec("c", { Cmd: ["cat"], AttachStdin: true, AttachStdout: true, Tty: true });
    const head = upgrade("POST", `/exec/${id}/start`, "Content-Type: application/json", "Transfer-Encoding: chunked");
    const client = new RawClient(head, '5\r\n{"Tty\r\n7;x=y\r\n":true}\r\n0\r\n\r\nhel');
    await client.until(() => client.head.includes("101"));
    client.socket.end("lo");
    await client.until(() => client.ended);
    expect(client.body.toString()).toBe("hello");
  });

  it("tells on the stream that a command can't be started", async () => {
    const client = start(await exec("c", { Cmd: ["missing"], AttachStdout: true }), {});
    await client.until(() => client.ended);
    expect(client.head).toContain("101 UPGRADED");
    expect(client.body.toString()).toContain("executable file not found in $PATH");
  });

  it("answers at once when detached, and refuses what is unknown or empty", async () => {
    const id = await exec("c", { Cmd: ["echo", "x"] });
    expect((await post(`/exec/${id}/start`, { Detach: true })).status).toBe(200);
    expect((await post("/exec/nope/start", { Detach: true })).status).toBe(404);
    expect((await post("/containers/c/exec", { Cmd: [] })).body).toContain("No exec command specified");
    await create("stopped", ["sleep"]);
    expect((await post("/containers/stopped/exec", { Cmd: ["x"] })).status).toBe(409);
  });

  it("times out nobody: a body that never comes ends with the connection", async () => {
    const id = await exec("c", { Cmd: ["cat"], AttachStdin: true, AttachStdout: true });
    const client = new RawClient(upgrade("POST", `/exec/${id}/start`, "Content-Length: 100"), "{");
    client.socket.end();
    await client.until(() => client.ended);
    expect(client.head).toContain("HTTP/1.1 400");
  });
});

describe("answers that go on", () => {
  it("sends the head of a wait before the end, and its result then", async () => {
    await create("c", ["sleep"]);
    const client = new RawClient(["POST /containers/c/wait?condition=next-exit HTTP/1.1", "Content-Length: 0"]);
    await client.until(() => client.head.includes("200 OK"));
    expect(client.body).toHaveLength(0);
    await post("/containers/c/start");
    await post("/containers/c/kill");
    await client.until(() => client.body.includes("StatusCode"));
    expect(client.body.toString()).toContain('{"StatusCode":137}');
    client.socket.destroy();
    expect((await post("/containers/c/wait?condition=never")).status).toBe(400);
  });

  it("sends events as they come", async () => {
    const client = new RawClient(["GET /events HTTP/1.1"]);
    await client.until(() => client.head.includes("200 OK"));
    await create("c", ["sleep"]);
    await client.until(() => client.body.includes('"Action":"create"'));
    client.socket.destroy();
  });

  it("follows logs until the end, framed, with times", async () => {
    await create("c", ["cat"], { OpenStdin: true, StdinOnce: true });
    await post("/containers/c/start");
    const client = new RawClient(["GET /containers/c/logs?stdout=1&follow=1&timestamps=1 HTTP/1.0"]);
    const attached = new RawClient(upgrade("POST", "/containers/c/attach?stream=1&stdin=1"));
    await attached.until(() => attached.head.includes("101"));
    attached.socket.end("line\n");
    await client.until(() => client.ended);
    expect(client.head).toContain("application/vnd.docker.multiplexed-stream");
    expect(client.body).toEqual(frame(1, "2026-01-01T00:00:00.000000000Z line\n"));
    attached.socket.destroy();
    expect((await post("/containers/c/logs")).status).toBe(404);
  });

  it("cancels a pull when its client leaves", async () => {
    const client = new RawClient(["POST /images/create?fromImage=endless&tag=1 HTTP/1.1", "Content-Length: 0"]);
    await client.until(() => client.body.includes("Downloading"));
    client.socket.destroy();
    await delay(50);
    expect(backend.images.list().map(({ tags }) => tags)).toEqual([["docker.io/library/busybox:latest"]]);
  });

  it("takes a body after 100 Continue, and a chunked one", async () => {
    const body = JSON.stringify({ Image: "busybox", Cmd: ["x"] });
    const client = new RawClient([
      "POST /containers/create?name=a HTTP/1.1",
      "Expect: 100-continue",
      "Content-Type: application/json",
      `Content-Length: ${body.length}`,
    ]);
    await client.until(() => client.received.includes("100 Continue"));
    client.socket.write(body);
    await client.until(() => client.received.includes("201 Created"));
    client.socket.destroy();
    const chunked = new RawClient(
      ["POST /containers/create?name=b HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked"],
      `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    );
    await chunked.until(() => chunked.head.includes("201 Created"));
    chunked.socket.destroy();
  });
});

describe("dockerode", () => {
  it("runs a container with its streams, and execs in another", async () => {
    const docker = new Docker({ socketPath });
    const container = await docker.createContainer({
      Image: "busybox",
      Cmd: ["cat"],
      OpenStdin: true,
      StdinOnce: true,
    });
    const stream = await container.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
    await container.start();
    const chunks: Buffer[] = [];
    const ended = new Promise<void>((resolve) => stream.once("end", resolve));
    stream.on("data", (chunk: Buffer) => void chunks.push(chunk));
    stream.end("over dockerode");
    await ended;
    expect(Buffer.concat(chunks)).toEqual(frame(1, "over dockerode"));
    expect(await container.wait()).toEqual({ StatusCode: 0 });
    expect((await container.inspect()).State.Status).toBe("exited");
    await container.remove();

    const other = await docker.createContainer({ Image: "busybox", Cmd: ["sleep"] });
    await other.start();
    const exec = await other.exec({ Cmd: ["echo", "hi"], AttachStdout: true });
    const output = await exec.start({});
    const seen: Buffer[] = [];
    for await (const chunk of output) seen.push(chunk as Buffer);
    expect(Buffer.concat(seen)).toEqual(frame(1, "hi\n"));
    expect(await exec.inspect()).toMatchObject({ ExitCode: 0 });
    await expect(docker.getContainer("nope").inspect()).rejects.toMatchObject({ statusCode: 404 });
  });
});

describe("listen", () => {
  it("serves a socket for root only, takes over a dead one, and refuses one in use", async () => {
    expect((await stat(socketPath)).mode & 0o777).toBe(0o600);
    const api = createDockerApi({ backend, log: silentLogger });
    await expect(listen(api, [`unix://${socketPath}`])).rejects.toThrow("another process serves it");
    await expect(listen(api, ["tcp://127.0.0.1:0"])).rejects.toThrow("without mutual TLS");
    await expect(listen(api, ["http://x"])).rejects.toThrow("must begin with unix:// or tcp://");
  });

  it("lets calls end when it closes, also those whose client is gone, and cuts streams", async () => {
    await create("slow", ["sh"]);
    let ended = 0;
    backend.instances.rename = async () => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      ended++;
    };
    const staying = post("/containers/slow/rename?name=quick");
    const leaving = connect(socketPath, () => {
      leaving.end("POST /containers/slow/rename?name=gone HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
      setTimeout(() => leaving.destroy(), 30);
    });
    const stream = new RawClient(["GET /events HTTP/1.1"]);
    await expect.poll(() => stream.received.toString()).toContain("200 OK");
    const began = performance.now();
    await served[Symbol.asyncDispose]();
    expect((await staying).status).toBe(204);
    expect(ended).toBe(2);
    expect(performance.now() - began).toBeLessThan(2000);
    await expect.poll(() => stream.ended).toBe(true);
  });
});

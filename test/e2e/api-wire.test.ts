/**
 * The API as it is on the wire: connections that leave HTTP, streams exact to the byte, pipelining, many followers, events, waits.
 * With DOCKER_PEER=unix://… the same expectations are held against that engine instead: they are Docker's.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EngineClient, readAll } from "../../src/client/engine-client.ts";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { RawHttp, splitFrames, webSocketFrame, webSocketFrames } from "../support/raw-http.ts";
import { runCommand } from "../support/run-command.ts";

const peer = process.env["DOCKER_PEER"];
const image = "wire-test:1";
const followers = 1000;

describe("the API on the wire", () => {
  const closers = new AsyncDisposableStack();
  let engine: EngineProcess | undefined;
  let host: string;
  let path: string;
  let api: EngineClient;

  beforeAll(async () => {
    if (peer === undefined) {
      engine = await EngineProcess.start();
      const ours = engine;
      closers.defer(async () => {
        await ours.remove();
        await assertNothingLeft(ours);
      });
    }
    host = engine?.host ?? peer ?? "";
    path = host.slice("unix://".length);
    api = closers.use(new EngineClient(host, undefined, "1.51"));
    const archive = await busyboxArchive({ tags: [image] });
    expect(await runCommand("docker", ["load"], { env: { DOCKER_HOST: host }, input: archive })).toMatchObject({
      code: 0,
    });
    if (peer !== undefined) closers.defer(async () => void (await call("DELETE", `/images/${image}?force=1`)));
  });
  afterAll(async () => {
    await closers.disposeAsync();
  });

  /** Status and parsed body. */
  async function call(
    method: string,
    url: string,
    body?: object,
  ): Promise<{ readonly status: number; readonly body: string }> {
    using client = new RawHttp(path);
    const text = body === undefined ? "" : JSON.stringify(body);
    const length = [`Content-Length: ${text.length}`, "Content-Type: application/json"];
    client.send(
      [`${method} /v1.51${url} HTTP/1.1`, "Connection: close", ...(text === "" ? ["Content-Length: 0"] : length)],
      text,
    );
    await client.until(() => client.ended);
    return { status: Number(client.head.split(" ")[1]), body: dechunk(client) };
  }

  async function create(command: readonly string[], more: object = {}): Promise<string> {
    const { status, body } = await call("POST", "/containers/create", { Image: image, Cmd: command, ...more });
    expect(status, body).toBe(201);
    const { Id } = JSON.parse(body) as { readonly Id: string };
    closers.defer(async () => void (await call("DELETE", `/containers/${Id}?force=1&v=1`)));
    return Id;
  }

  const withInput = { OpenStdin: true, StdinOnce: true, AttachStdin: true };
  const upgrade = (url: string) => [
    `POST /v1.51${url} HTTP/1.1`,
    "Connection: Upgrade",
    "Upgrade: tcp",
    "Content-Length: 0",
  ];

  it("attaches over a WebSocket: messages in pieces and of any size, a ping, the end", async () => {
    const id = await create(["cat"], withInput);
    using client = new RawHttp(path);
    client.send([
      `GET /v1.51/containers/${id}/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      // Docker's library asks for one.
      "Origin: http://localhost",
    ]);
    await client.until(() => client.head.includes(" 101 "));
    expect(client.head).toContain("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    await call("POST", `/containers/${id}/start`);
    const large = Buffer.alloc(70_000, "0123456789\n");
    client.socket.write(
      Buffer.concat([webSocketFrame(2, Buffer.from("hel"), false), webSocketFrame(0, Buffer.from("lo\n"))]),
    );
    client.socket.write(webSocketFrame(9, Buffer.from("are you there")));
    client.socket.write(webSocketFrame(2, large));
    const frames = () => webSocketFrames(client.body);
    const output = () =>
      Buffer.concat(
        frames()
          .filter(({ opcode }) => opcode === 2)
          .map(({ payload }) => payload),
      );
    await client.until(() => output().length >= 6 + large.length);
    expect(output().equals(Buffer.concat([Buffer.from("hello\n"), large]))).toBe(true);
    expect(
      frames()
        .find(({ opcode }) => opcode === 10)
        ?.payload.toString(),
    ).toBe("are you there");
    client.socket.write(webSocketFrame(8, Buffer.from([0x03, 0xe8])));
    await client.until(() => client.ended);
  });

  it("keeps both streams exact to the byte, in attach and in the logs", async () => {
    const id = await create(["sh", "-c", "seq 1 60000 & seq 60001 90000 >&2; wait; printf '\\0\\377end'"]);
    using client = new RawHttp(path);
    client.send(upgrade(`/containers/${id}/attach?stream=1&stdout=1&stderr=1`));
    await client.until(() => client.head.includes(" 101 "));
    await call("POST", `/containers/${id}/start`);
    await client.until(() => client.ended);
    const numbers = (from: number, to: number) =>
      Buffer.from(Array.from({ length: to - from + 1 }, (_, i) => `${from + i}\n`).join(""));
    const expected = Buffer.concat([numbers(1, 60_000), Buffer.from([0, 255]), Buffer.from("end")]);
    const attached = splitFrames(client.body);
    expect(attached.stdout.equals(expected)).toBe(true);
    expect(attached.stderr.equals(numbers(60_001, 90_000))).toBe(true);
    const { body } = await api.stream("GET", `/containers/${id}/logs`, { query: { stdout: 1, stderr: 1 } });
    const chunks: Buffer[] = [];
    for await (const chunk of body) chunks.push(Buffer.from(chunk as Uint8Array));
    const logged = splitFrames(Buffer.concat(chunks));
    // Docker's log stores text: the byte that is none is the replacement character there, and here the byte.
    expect(logged.stdout.subarray(0, numbers(1, 60_000).length).equals(numbers(1, 60_000))).toBe(true);
    expect(logged.stderr.equals(numbers(60_001, 90_000))).toBe(true);
  });

  it("takes a half-closed connection for the end of input, in attach and exec", async () => {
    const id = await create(["sh", "-c", "wc -c; echo later >&2"], withInput);
    using client = new RawHttp(path);
    client.send(upgrade(`/containers/${id}/attach?stream=1&stdin=1&stdout=1&stderr=1`));
    await client.until(() => client.head.includes(" 101 "));
    await call("POST", `/containers/${id}/start`);
    client.socket.end(Buffer.alloc(300_000));
    await client.until(() => client.ended);
    const { stdout, stderr } = splitFrames(client.body);
    expect([stdout.toString(), stderr.toString()]).toEqual(["300000\n", "later\n"]);

    const other = await create(["sleep", "1000"], { StopSignal: "SIGKILL" });
    await call("POST", `/containers/${other}/start`);
    const made = await call("POST", `/containers/${other}/exec`, {
      Cmd: ["wc", "-c"],
      AttachStdin: true,
      AttachStdout: true,
    });
    const { Id } = JSON.parse(made.body) as { readonly Id: string };
    using exec = new RawHttp(path);
    const options = JSON.stringify({ Detach: false, Tty: false });
    const head = [
      `POST /v1.51/exec/${Id}/start HTTP/1.1`,
      "Connection: Upgrade",
      "Upgrade: tcp",
      "Content-Type: application/json",
    ];
    exec.send([...head, `Content-Length: ${options.length}`], options);
    await exec.until(() => exec.head.includes(" 101 "));
    exec.socket.end(Buffer.alloc(12_345));
    await exec.until(() => exec.ended);
    expect(splitFrames(exec.body).stdout.toString()).toBe("12345\n");
  });

  it("keeps a connection alive and answers pipelined requests in their order", async () => {
    using client = new RawHttp(path);
    const get = (url: string) => `GET ${url} HTTP/1.1\r\nHost: d\r\n\r\n`;
    const body = JSON.stringify({ Name: "wire-volume" });
    const post = `POST /v1.51/volumes/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const remove = "DELETE /v1.51/volumes/wire-volume HTTP/1.1\r\nHost: d\r\n\r\n";
    client.socket.write(
      get("/_ping") +
        post +
        get("/v1.51/volumes/wire-volume") +
        remove +
        get("/v1.51/volumes/wire-volume") +
        get("/_ping"),
    );
    const statuses = () =>
      [...client.received.toString("latin1").matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status));
    await client.until(() => statuses().length >= 6);
    expect(statuses()).toEqual([200, 201, 200, 204, 404, 200]);
    client.socket.write(get("/_ping"));
    await client.until(() => statuses().length >= 7);
    expect(client.ended).toBe(false);
  });

  it("takes a body in chunks, and one that waits for 100 Continue", async () => {
    const body = JSON.stringify({ Name: "wire-chunked" });
    using client = new RawHttp(path);
    const head = ["POST /v1.51/volumes/create HTTP/1.1", "Content-Type: application/json", "Connection: close"];
    client.send([...head, "Transfer-Encoding: chunked", "Expect: 100-continue"]);
    await client.until(() => client.head.includes("100 Continue"));
    client.socket.write(body.replaceAll(/./g, "1\r\n$&\r\n"));
    await delay(50);
    client.socket.write("0\r\n\r\n");
    await client.until(() => client.ended);
    expect(client.received.toString()).toMatch(/HTTP\/1\.1 201 Created[^]*"Name":"wire-chunked"/);
    await call("DELETE", "/volumes/wire-chunked");
  });

  it.skipIf(peer !== undefined)(`sends a log to ${followers} followers at once`, async () => {
    const lines = 50;
    const id = await create(["sh", "-c", `read go; seq 1 ${lines}`], { OpenStdin: true });
    await call("POST", `/containers/${id}/start`);
    const before = residentBytes(engine?.pid ?? 0);
    const clients = Array.from({ length: followers }, () => new RawHttp(path));
    try {
      for (const client of clients)
        client.send([`GET /v1.51/containers/${id}/logs?follow=1&stdout=1 HTTP/1.1`, "Connection: close"]);
      for (const client of clients) await client.until(() => client.head.includes("200 OK"), 60);
      const held = residentBytes(engine?.pid ?? 0) - before;
      using input = new RawHttp(path);
      input.send(upgrade(`/containers/${id}/attach?stream=1&stdin=1`));
      await input.until(() => input.head.includes(" 101 "));
      const started = performance.now();
      input.socket.write("go\n");
      for (const client of clients) await client.until(() => client.ended, 60);
      const seconds = (performance.now() - started) / 1000;
      const expected = Array.from({ length: lines }, (_, index) => `${index + 1}\n`).join("");
      for (const client of clients) expect(splitFrames(dechunkBytes(client)).stdout.toString()).toBe(expected);
      console.log(`${followers} followers: ${(held / 2 ** 20).toFixed(0)} MiB held, served in ${seconds.toFixed(2)} s`);
      expect(held / followers, "bytes of memory for each follower").toBeLessThan(256 * 1024);
      expect(seconds).toBeLessThan(30);
    } finally {
      for (const client of clients) client[Symbol.dispose]();
    }
  });

  it("answers a wait by its condition", async () => {
    const id = await create(["sh", "-c", "sleep 1; exit 3"]);
    const wait = async (query: string) => (await call("POST", `/containers/${id}/wait${query}`)).body.trim();
    // Not running is what it is before its start, too.
    expect(JSON.parse(await wait(""))).toEqual({ StatusCode: 0 });
    const next = wait("?condition=next-exit");
    const removed = wait("?condition=removed");
    await delay(300);
    await call("POST", `/containers/${id}/start`);
    expect(JSON.parse(await wait("?condition=not-running"))).toEqual({ StatusCode: 3 });
    expect(JSON.parse(await next)).toEqual({ StatusCode: 3 });
    await call("DELETE", `/containers/${id}`);
    expect(JSON.parse(await removed)).toEqual({ StatusCode: 3 });
    expect(await call("POST", `/containers/${id}/wait?condition=whenever`)).toMatchObject({
      status: expect.any(Number),
    });
    expect((await call("POST", `/containers/nothing/wait`)).status).toBe(404);
  });

  it("spells headers as Docker does", async () => {
    const headOf = async (line: string): Promise<readonly string[]> => {
      using client = new RawHttp(path);
      client.send([line, "Connection: close"]);
      await client.until(() => client.ended);
      return client.head.split("\r\n").map((header) => header.split(":", 1)[0] ?? "");
    };
    const everywhere = ["Api-Version", "Docker-Experimental", "Ostype", "Server", "Content-Type"];
    expect(await headOf("GET /_ping HTTP/1.1")).toEqual(
      expect.arrayContaining([...everywhere, "Builder-Version", "Cache-Control", "Pragma", "Swarm", "Content-Length"]),
    );
    for (const url of [
      "/v1.51/info",
      "/v1.51/containers/json",
      "/v1.51/containers/nothing/json",
      "/v1.51/events?until=1",
    ])
      expect(await headOf(`GET ${url} HTTP/1.1`), url).toEqual(expect.arrayContaining(everywhere));
    const id = await create(["true"]);
    expect(await headOf(`HEAD /v1.51/containers/${id}/archive?path=/etc HTTP/1.1`)).toContain(
      "X-Docker-Container-Path-Stat",
    );
  });

  it("answers an exec's start by what the client asks for: the head, and how the output is framed", async () => {
    const id = await create(["sleep", "1000"], { StopSignal: "SIGKILL" });
    await call("POST", `/containers/${id}/start`);
    const start = async (options: { tty: boolean; upgrade: boolean; version?: string }) => {
      const Cmd = ["sh", "-c", "echo out; sleep 0.2; echo err >&2"];
      const made = await call("POST", `/containers/${id}/exec`, {
        Cmd,
        AttachStdout: true,
        AttachStderr: true,
        Tty: options.tty,
      });
      const { Id } = JSON.parse(made.body) as { readonly Id: string };
      using client = new RawHttp(path);
      const body = JSON.stringify({ Detach: false, Tty: options.tty });
      client.send(
        [
          `POST /v${options.version ?? "1.51"}/exec/${Id}/start HTTP/1.1`,
          ...(options.upgrade ? ["Connection: Upgrade", "Upgrade: tcp"] : []),
          "Content-Type: application/json",
          `Content-Length: ${body.length}`,
        ],
        body,
      );
      await client.until(() => client.ended);
      const [status = "", ...headers] = client.head.split("\r\n");
      const type = headers.find((header) => header.startsWith("Content-Type: ")) ?? "";
      const names = headers.map((header) => header.split(":", 1)[0] ?? "");
      expect(names).toEqual(expect.arrayContaining(["Api-Version", "Ostype", "Server"]));
      expect(names.filter((name) => /^(Content-Length|Transfer-Encoding)$/i.test(name))).toEqual([]);
      expect(names.includes("Upgrade")).toBe(options.upgrade);
      return { status, type: type.replace("Content-Type: application/vnd.docker.", ""), body: client.body };
    };
    const framed = (bytes: Buffer) => {
      const { stdout, stderr } = splitFrames(bytes);
      return [stdout.toString(), stderr.toString()];
    };
    const upgraded = await start({ tty: false, upgrade: true });
    expect([upgraded.status, upgraded.type]).toEqual(["HTTP/1.1 101 UPGRADED", "multiplexed-stream"]);
    expect(framed(upgraded.body)).toEqual(["out\n", "err\n"]);
    const older = await start({ tty: false, upgrade: true, version: "1.41" });
    expect([older.status, older.type]).toEqual(["HTTP/1.1 101 UPGRADED", "raw-stream"]);
    expect(framed(older.body)).toEqual(["out\n", "err\n"]);
    const plain = await start({ tty: false, upgrade: false });
    expect([plain.status, plain.type]).toEqual(["HTTP/1.1 200 OK", "raw-stream"]);
    expect(framed(plain.body)).toEqual(["out\n", "err\n"]);
    for (const upgrade of [true, false]) {
      const terminal = await start({ tty: true, upgrade });
      expect(terminal.status).toBe(upgrade ? "HTTP/1.1 101 UPGRADED" : "HTTP/1.1 200 OK");
      expect([terminal.type, terminal.body.toString()]).toEqual(["raw-stream", "out\r\nerr\r\n"]);
    }
  });

  describe("output that is there at once waits until a slow client has read the head: docker-py loses what comes with it", () => {
    const heads = [
      ["upgraded", "Connection: Upgrade\r\nUpgrade: tcp\r\n"],
      ["as it is", ""],
    ] as const;
    const piecesOf = async (url: string, head: string): Promise<readonly string[]> => {
      const socket = connect({ path });
      using _socket = { [Symbol.dispose]: () => void socket.destroy() };
      const pieces: string[] = [];
      // Before anything listens: else it would read on ahead.
      socket.pause();
      socket.write(
        `POST /v1.51${url} HTTP/1.1\r\nHost: d\r\n${head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
      );
      // Longer than the command takes, and shorter than the engine waits.
      await delay(60);
      socket.on("data", (piece: Buffer) => void pieces.push(piece.toString("latin1")));
      socket.resume();
      await once(socket, "end");
      return pieces;
    };

    it.each(heads)("of an exec, %s", async (_, head) => {
      const id = await create(["sleep", "1000"], { StopSignal: "SIGKILL" });
      await call("POST", `/containers/${id}/start`);
      const made = await call("POST", `/containers/${id}/exec`, { Cmd: ["echo", "quick"], AttachStdout: true });
      const { Id } = JSON.parse(made.body) as { readonly Id: string };
      const [first, ...rest] = await piecesOf(`/exec/${Id}/start`, head);
      expect(first).toMatch(/\r\n\r\n$/);
      expect(rest.join("")).toContain("quick\n");
    });

    it.each(heads)("of an ended container's log, %s", async (_, head) => {
      const id = await create(["echo", "quick"]);
      await call("POST", `/containers/${id}/start`);
      await call("POST", `/containers/${id}/wait`);
      const [first, ...rest] = await piecesOf(`/containers/${id}/attach?logs=1&stdout=1`, head);
      expect(first).toMatch(/\r\n\r\n$/);
      expect(rest.join("")).toContain("quick\n");
    });
  });

  it("tells what is wrong with an archive in the stream of its load", async () => {
    const notTar = Buffer.from("this is no archive\n");
    for (const query of ["", "?quiet=1"]) {
      using client = new RawHttp(path);
      client.send(
        [
          `POST /v1.51/images/load${query} HTTP/1.1`,
          "Connection: close",
          "Content-Type: application/x-tar",
          `Content-Length: ${notTar.length}`,
        ],
        notTar,
      );
      await client.until(() => client.ended);
      expect(client.head.split("\r\n")[0]).toBe("HTTP/1.1 200 OK");
      const last = JSON.parse(dechunk(client).trim().split("\r\n").at(-1) ?? "") as {
        readonly error?: string;
        readonly errorDetail?: { readonly message?: string };
      };
      expect(last.error).toEqual(expect.any(String));
      expect(last.errorDetail?.message).toBe(last.error);
    }
  });

  it("takes a variable without a value out of the environment", async () => {
    const Env = ["HOSTNAME", "BARE", "PATH=/bin", "EMPTY="];
    const id = await create(["env"], { Env });
    const { Config } = JSON.parse((await call("GET", `/containers/${id}/json`)).body) as {
      readonly Config: { readonly Env: readonly string[] };
    };
    expect(Config.Env).toEqual(Env);
    await call("POST", `/containers/${id}/start`);
    await call("POST", `/containers/${id}/wait`);
    const { body } = await api.stream("GET", `/containers/${id}/logs`, { query: { stdout: 1 } });
    const lines = splitFrames(Buffer.from(await readAll(body), "latin1"))
      .stdout.toString()
      .trim()
      .split("\n");
    expect(lines.map((line) => line.replace(/=.*/, "")).toSorted()).toEqual(["EMPTY", "HOME", "PATH"]);
  });

  it("refuses what only a swarm or a plugin could do, naming both", async () => {
    if (peer !== undefined) return;
    for (const url of ["/swarm/init", "/swarm/join"]) {
      const refused = await call("POST", url, {});
      expect([refused.status, refused.body]).toEqual([
        501,
        expect.stringMatching(/Swarm mode is not.*"hint":".*compose/),
      ]);
    }
    expect(JSON.parse((await call("GET", "/plugins")).body)).toEqual([]);
    const refused = await call("POST", "/plugins/pull?remote=vieux/sshfs", []);
    expect([refused.status, refused.body]).toEqual([501, expect.stringMatching(/plugins are not.*"hint":/)]);
    expect(await call("GET", "/plugins/sshfs/json")).toMatchObject({
      status: 404,
      body: expect.stringContaining('plugin \\"sshfs\\" not found'),
    });
  });

  it("refuses Swarm in Docker's words", async () => {
    const manager =
      'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';
    const collections = ["services", "nodes", "tasks", "secrets", "configs"];
    const requests = [
      ["GET", "/swarm"],
      ["GET", "/swarm/unlockkey"],
      ...collections.flatMap((name) => [["GET", `/${name}`] as const, ["GET", `/${name}/x`] as const]),
      ["POST", "/secrets/create"],
      ["POST", "/configs/create"],
      ["DELETE", "/services/x"],
      ["DELETE", "/nodes/x"],
    ] as const;
    for (const [method, url] of requests) {
      const { status, body } = await call(method, url, method === "POST" ? {} : undefined);
      expect([method, url, status, (JSON.parse(body) as { readonly message: string }).message]).toEqual([
        method,
        url,
        503,
        manager,
      ]);
    }
    expect(await call("POST", "/swarm/leave")).toMatchObject({
      status: 503,
      body: expect.stringContaining("This node is not part of a swarm"),
    });
  });

  it("filters events by everything that they have", async () => {
    const since = await engineTime();
    const name = "wire-events";
    const docker = async (...words: readonly string[]) => {
      const { code, stderr } = await runCommand("docker", words, {
        env: { DOCKER_HOST: host, DOCKER_CONFIG: "/nonexistent" },
      });
      if (code !== 0) throw new Error(stderr);
    };
    await docker("network", "create", "--label", "wire=net", "wire-net");
    await docker("volume", "create", "wire-vol");
    await docker("tag", image, "wire-tagged:2");
    await docker(
      "run",
      "-d",
      "--name",
      name,
      "--label",
      "wire=yes",
      "--label",
      "other=1",
      "--network",
      "wire-net",
      "-v",
      "wire-vol:/v",
      image,
      "sleep",
      "100",
    );
    await docker("exec", name, "true");
    await docker("kill", name);
    await docker("rm", name);
    await docker("volume", "rm", "wire-vol");
    await docker("network", "rm", "wire-net");
    await docker("rmi", "wire-tagged:2");
    await delay(300);
    const until = await engineTime();
    const actions = async (filters: Readonly<Record<string, readonly string[]>>) => {
      const { body } = await api.stream("GET", "/events", {
        query: { since, until, filters: JSON.stringify(filters) },
      });
      const events = (await readAll(body)).split("\n").filter((line) => line !== "");
      return [
        ...new Set(
          events.map((line) => {
            const { Type, Action } = JSON.parse(line) as { readonly Type: string; readonly Action: string };
            return `${Type} ${Action.split(":")[0]}`;
          }),
        ),
      ].sort();
    };
    const life = [
      "container create",
      "container destroy",
      "container die",
      "container exec_create",
      "container exec_die",
      "container exec_start",
      "container kill",
      "container start",
    ];
    expect(await actions({ container: [name] })).toEqual(life);
    expect(await actions({ type: ["container"], label: ["wire=yes"] })).toEqual(life);
    expect(await actions({ label: ["wire=yes", "other=1"], event: ["die"] })).toEqual(["container die"]);
    expect(await actions({ label: ["wire=yes", "other=2"] })).toEqual([]);
    expect(await actions({ type: ["network"], network: ["wire-net"] })).toEqual([
      "network connect",
      "network create",
      "network destroy",
      "network disconnect",
    ]);
    expect(await actions({ volume: ["wire-vol"] })).toEqual([
      "volume create",
      "volume destroy",
      "volume mount",
      "volume unmount",
    ]);
    expect(await actions({ type: ["image"], image: ["wire-tagged:2"] })).toEqual(["image tag"]);
    expect(await actions({ image: [image], event: ["start", "create"], container: [name] })).toEqual([
      "container create",
      "container start",
    ]);
    expect(await actions({ event: ["exec_create"], container: [name] })).toEqual(["container exec_create"]);
    expect(await actions({ scope: ["swarm"] })).toEqual([]);
    expect(await actions({ scope: ["local"], volume: ["wire-vol"], event: ["create"] })).toEqual(["volume create"]);
    expect(await actions({ type: ["volume", "network"], event: ["create", "destroy"] })).toEqual([
      "network create",
      "network destroy",
      "volume create",
      "volume destroy",
    ]);
    for (const none of ["plugin", "daemon", "service", "node", "secret", "config"])
      expect(await actions({ [none]: ["x"] })).toEqual([]);
    const bad = await call("GET", `/events?until=${until}&filters=${encodeURIComponent('{"nonsense":["x"]}')}`);
    expect([bad.status, (JSON.parse(bad.body) as { readonly message: string }).message]).toEqual([
      400,
      "invalid filter 'nonsense'",
    ]);
  });

  /** Seconds with a fraction, of the engine's own clock: the same host's. */
  async function engineTime(): Promise<string> {
    await delay(20);
    return (Date.now() / 1000).toFixed(3);
  }
});

function residentBytes(pid: number): number {
  const [, kibibytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kibibytes) * 1024;
}

function dechunk(client: RawHttp): string {
  return dechunkBytes(client).toString();
}

/** The body of an answer that ended with its connection. */
function dechunkBytes(client: RawHttp): Buffer {
  if (!/transfer-encoding: chunked/i.test(client.head)) return client.body;
  const parts: Buffer[] = [];
  const { body } = client;
  for (let at = 0; at < body.length; ) {
    const end = body.indexOf("\r\n", at);
    const length = Number.parseInt(body.toString("latin1", at, end), 16);
    parts.push(body.subarray(end + 2, end + 2 + length));
    at = end + 2 + length + 2;
  }
  return Buffer.concat(parts);
}

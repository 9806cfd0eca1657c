import * as http from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseHost } from "./address.ts";
import { EngineClient } from "./engine-client.ts";
import { jsonValues } from "./json-lines.ts";
import { type Frame, FrameDecoder } from "./output-frames.ts";

describe("parseHost", () => {
  it.each([
    ["unix:///run/x.sock", { kind: "unix", path: "/run/x.sock" }],
    ["/run/x.sock", { kind: "unix", path: "/run/x.sock" }],
    ["tcp://127.0.0.1:2375", { kind: "tcp", host: "127.0.0.1", port: 2375, tls: false }],
    ["tcp://[::1]:2376", { kind: "tcp", host: "::1", port: 2376, tls: true }],
  ])("reads %s", (host, address) => expect(parseHost(host)).toEqual(address));

  it.each(["", "unix://", "ftp://x", "localhost:1"])("refuses %j", (host) =>
    expect(() => parseHost(host)).toThrow(/invalid engine address/),
  );
});

describe("FrameDecoder", () => {
  it("takes frames apart wherever the chunks are cut", async () => {
    const frame = (stream: number, text: string) =>
      Buffer.concat([Buffer.from([stream, 0, 0, 0, 0, 0, 0, text.length]), Buffer.from(text)]);
    const bytes = Buffer.concat([frame(1, "out"), frame(2, "error"), frame(1, "")]);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const frames = await Readable.from([bytes.subarray(0, cut), bytes.subarray(cut)])
        .pipe(new FrameDecoder())
        .toArray();
      expect(frames.map(({ stream, data }: Frame) => [stream, data.toString()])).toEqual([
        ["stdout", "out"],
        ["stderr", "error"],
        ["stdout", ""],
      ]);
    }
  });
});

it("reads JSON values that follow one another, cut anywhere", async () => {
  const values = [{ a: '}{"' }, { b: [1, { c: "ü" }] }];
  const bytes = Buffer.from(`${JSON.stringify(values[0])}\r\n${JSON.stringify(values[1])}`);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const read: unknown[] = [];
    for await (const value of jsonValues(Readable.from([bytes.subarray(0, cut), bytes.subarray(cut)])))
      read.push(value);
    expect(read).toEqual(values);
  }
});

describe("EngineClient", () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-client-"));
  const socketPath = join(directory, "x.sock");
  const server = http.createServer((request, response) => {
    if (request.url === "/v1.51/fail") {
      response.writeHead(409, { "Content-Type": "application/json" });
      response.end(JSON.stringify({ message: "name in use", hint: "choose another" }));
      return;
    }
    request.setEncoding("utf8");
    let body = "";
    request.on("data", (chunk: string) => {
      body += chunk;
    });
    request.on("end", () => response.end(JSON.stringify({ url: request.url, method: request.method, body })));
  });
  beforeAll(() => new Promise<void>((resolve) => server.listen(socketPath, resolve)));
  afterAll(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });

  it("sends queries and JSON and reads the answer", async () => {
    using client = new EngineClient(`unix://${socketPath}`);
    const answer = await client.call("POST", "/containers/create", {
      query: { name: "a b", all: true, none: undefined },
      body: { Image: "x" },
    });
    expect(answer).toEqual({
      url: "/v1.51/containers/create?name=a+b&all=true",
      method: "POST",
      body: '{"Image":"x"}',
    });
  });

  it("rejects with the engine's message and hint", async () => {
    using client = new EngineClient(`unix://${socketPath}`);
    await expect(client.call("GET", "/fail")).rejects.toMatchObject({
      status: 409,
      message: "name in use",
      hint: "choose another",
    });
  });

  it("says where nobody answers", async () => {
    using client = new EngineClient(`unix://${directory}/none.sock`);
    await expect(client.call("GET", "/_ping")).rejects.toMatchObject({
      code: "ENGINE_UNREACHABLE",
      message: expect.stringContaining("none.sock"),
    });
  });
});

import { PassThrough, Readable } from "node:stream";
import { expect, test } from "vitest";
import { EngineClient } from "../../client/engine-client.ts";
import { runProgram } from "../program.ts";

class RecordingClient extends EngineClient {
  readonly requests: unknown[] = [];

  override async stream(method: string, path: string, options: { readonly body?: unknown } = {}) {
    this.requests.push([method, path, options.body]);
    const body = Readable.from([Buffer.from('{"aux":{"ID":"sha256:1","name":"made"}}\n')]);
    return { status: 200, headers: {}, body };
  }
}

async function run(...words: readonly string[]) {
  const client = new RecordingClient("unix:///none");
  const stdout = new PassThrough();
  const context = { client, stdin: process.stdin, stdout, stderr: new PassThrough(), environment: {}, now: () => 0 };
  await runProgram({ ...context, signal: new AbortController().signal, setExitCode: () => {} }, words);
  stdout.end();
  return { requests: client.requests, printed: Buffer.concat(await stdout.toArray()).toString() };
}

test("a container becomes a machine of the hardware that is asked for", async () => {
  const { requests, printed } = await run(
    "convert",
    "web",
    "--to",
    "machine",
    "vm1",
    "--cpus",
    "2",
    "--keep-image",
    "disk:1",
  );
  expect(requests).toEqual([
    [
      "POST",
      "/berth/v1/convert/machine",
      { name: "vm1", cpus: 2, ports: [], labels: {}, start: false, source: "web", keepImage: "disk:1" },
    ],
  ]);
  expect(printed).toContain("made\n");
});

test("a machine becomes an image, and so does a path", async () => {
  const machine = await run("convert", "vm1", "--to", "image", "--name", "files:1", "-c", "CMD x", "-q");
  expect(machine).toEqual({
    requests: [["POST", "/berth/v1/convert/image", { machine: "vm1", reference: "files:1", changes: ["CMD x"] }]],
    printed: "sha256:1\n",
  });
  const { requests } = await run("convert", "/x/disk.vmdk", "--to", "image", "files:1");
  expect(requests).toMatchObject([[expect.anything(), expect.anything(), { diskFile: "/x/disk.vmdk" }]]);
});

test("what makes no sense together is refused", async () => {
  await expect(run("convert", "a")).rejects.toThrow("needs --to");
  await expect(run("convert", "a", "--to", "image")).rejects.toThrow("needs a NAME");
  await expect(run("convert", "a", "b", "--to", "image", "--name", "c")).rejects.toThrow("NAME once");
  await expect(run("convert", "a", "b", "--to", "image", "--disk-bus", "sata")).rejects.toThrow("no --disk-bus");
  await expect(run("convert", "a", "--to", "machine", "-c", "CMD x")).rejects.toThrow("no --change");
});

/** TCP is served to clients with a certificate of our authority only. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import * as https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createDockerApi } from "../../../src/api/docker/api.ts";
import { fakeBackend } from "../../../src/api/docker/fake/fake-backend.ts";
import { listen, type Listening } from "../../../src/api/docker/listen.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { runCommand } from "../../support/run-command.ts";

let directory: string;
let served: Listening;
let port: number;
const path = (name: string) => join(directory, name);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "berth-tls-"));
  await makeAuthority("ca");
  await makeAuthority("stranger");
  await makeCertificate("server", "ca");
  await makeCertificate("client", "ca");
  await makeCertificate("intruder", "stranger");
  const tls = { ca: path("ca.pem"), cert: path("server.pem"), key: path("server.key") };
  served = await listen(createDockerApi({ backend: fakeBackend(), log: silentLogger }), ["tcp://127.0.0.1:0"], { tls });
  port = Number(new URL(served.hosts[0] ?? "").port);
});
afterAll(async () => {
  await served[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

it("serves a client that shows our authority's certificate", async () => {
  expect(await ping("client")).toBe("OK");
});

it("refuses a client without one, and one of another authority", async () => {
  await expect(ping(undefined)).rejects.toThrow();
  await expect(ping("intruder")).rejects.toThrow();
});

it("takes its address from a client", async () => {
  const words = [`--host=tcp://127.0.0.1:${port}`, "--tlsverify", "version", "-f", "{{.Server.APIVersion}}"];
  const files = [`--tlscacert=${path("ca.pem")}`, `--tlscert=${path("client.pem")}`, `--tlskey=${path("client.key")}`];
  const { code, stdout } = await runCommand("docker", [...files, ...words]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "1.51\n" });
});

async function ping(name: string | undefined): Promise<string> {
  const identity =
    name === undefined ? {} : { cert: await readFile(path(`${name}.pem`)), key: await readFile(path(`${name}.key`)) };
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const options = { host: "127.0.0.1", port, path: "/_ping", ca: await readFile(path("ca.pem")), ...identity };
  https
    .get(options, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString())).on("end", () => resolve(text));
    })
    .on("error", reject);
  return await promise;
}

async function openssl(...words: readonly string[]): Promise<void> {
  const { code, stderr } = await runCommand("openssl", words);
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
}

async function makeAuthority(name: string): Promise<void> {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path(`${name}.key`)];
  await openssl("req", "-x509", ...key, "-subj", `/CN=${name}`, "-days", "2", "-out", path(`${name}.pem`));
}

async function makeCertificate(name: string, authority: string): Promise<void> {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path(`${name}.key`)];
  await openssl("req", "-new", ...key, "-subj", `/CN=${name}`, "-out", path(`${name}.csr`));
  await writeFile(path(`${name}.ext`), "subjectAltName=IP:127.0.0.1\n");
  const signer = ["-CA", path(`${authority}.pem`), "-CAkey", path(`${authority}.key`), "-CAcreateserial"];
  const files = ["-in", path(`${name}.csr`), "-extfile", path(`${name}.ext`), "-out", path(`${name}.pem`)];
  await openssl("x509", "-req", ...signer, ...files, "-days", "2");
}

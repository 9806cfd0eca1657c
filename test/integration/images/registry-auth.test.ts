import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { noProgress } from "../../../src/base/progress.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";
import { dockerConfigCredentials } from "../../../src/images/registry/credentials.ts";
import { busyboxArchive } from "../../support/busybox-image.ts";
import { type ImageEngine, openImageEngine, recordProgress } from "./image-engine.ts";
import { freePort, passwordProtected, startRegistry } from "../../support/registry.ts";
import { refreshToken, startTokenServer, tokenUser } from "./token-server.ts";

async function loadSample(engine: ImageEngine, ...tags: readonly string[]) {
  const archive = await busyboxArchive({ tags: [...tags] });
  await engine.images.load(engine.ctx, Readable.from([archive]), noProgress);
}

const basicRegistry = () => startRegistry(passwordProtected);

test("basic authentication: none, wrong, and right credentials", async () => {
  await using registry = await basicRegistry();
  await using engine = await openImageEngine();
  const reference = `${registry.host}/private/app:1`;
  await loadSample(engine, reference);
  await expect(engine.images.push(engine.ctx, { reference }, noProgress)).rejects.toThrow("no basic auth credentials");
  const wrong = { username: "bob", password: "guess" };
  await expect(engine.images.push(engine.ctx, { reference, auth: wrong }, noProgress)).rejects.toMatchObject({
    code: "PUSH_ACCESS_DENIED",
  });
  const auth = { username: "bob", password: "s3cret" };
  await engine.images.push(engine.ctx, { reference, auth }, noProgress);
  await engine.images.remove(engine.ctx, reference, { force: false, noPrune: false });
  expect((await engine.images.pull(engine.ctx, { reference, auth }, noProgress)).tags).toEqual([reference]);
});

test("credentials from Docker's own file, and from a credential helper", async () => {
  await using registry = await basicRegistry();
  const directory = await mkdtemp(join(tmpdir(), "berth-docker-config-"));
  const host = await createLinuxHost({ log: silentLogger });
  const path = process.env["PATH"];
  try {
    const config = join(directory, "config.json");
    const credentials = dockerConfigCredentials(host.processes, config);
    await using engine = await openImageEngine({ credentials });
    const reference = `${registry.host}/private/app:1`;
    await loadSample(engine, reference);
    await expect(engine.images.push(engine.ctx, { reference }, noProgress)).rejects.toThrow("no basic auth");

    const encoded = Buffer.from("bob:s3cret").toString("base64");
    await writeFile(config, JSON.stringify({ auths: { [registry.host]: { auth: encoded } } }));
    await engine.images.push(engine.ctx, { reference }, noProgress);

    const helper = join(directory, "docker-credential-test");
    const answer = JSON.stringify({ ServerURL: registry.host, Username: "bob", Secret: "s3cret" });
    await writeFile(helper, `#!/bin/sh\nread server\n[ "$1 $server" = "get ${registry.host}" ] && echo '${answer}'\n`);
    await chmod(helper, 0o755);
    process.env["PATH"] = `${directory}:${path}`;
    await writeFile(config, JSON.stringify({ credHelpers: { [registry.host]: "test" } }));
    const progress = recordProgress();
    await engine.images.push(engine.ctx, { reference }, progress.sink);
    expect(progress.lines.at(-1)).toMatch(/^1: digest: sha256:/);

    await writeFile(config, JSON.stringify({ credsStore: "missing" }));
    await expect(engine.images.push(engine.ctx, { reference }, noProgress)).rejects.toThrow(
      "docker-credential-missing",
    );
  } finally {
    process.env["PATH"] = path;
    await host.close();
    await rm(directory, { recursive: true });
  }
});

test("token authentication: anonymous, by password, by refresh token, and refused", async () => {
  await using tokens = await startTokenServer("registry.test");
  await using registry = await startRegistry({
    auth: `  token:\n    realm: ${tokens.realm}\n    service: registry.test\n    issuer: token\n    rootcertbundle: {dir}/bundle.pem`,
    files: { "bundle.pem": tokens.certificate },
  });
  await using engine = await openImageEngine();
  const publicName = `${registry.host}/public/app:1`;
  const privateName = `${registry.host}/private/app:1`;
  await loadSample(engine, publicName, privateName);
  await expect(engine.images.push(engine.ctx, { reference: publicName }, noProgress)).rejects.toMatchObject({
    code: "PUSH_ACCESS_DENIED",
  });
  await engine.images.push(engine.ctx, { reference: publicName, auth: tokenUser }, noProgress);
  await engine.images.push(engine.ctx, { reference: privateName, auth: { identityToken: refreshToken } }, noProgress);
  expect(tokens.requests).toContain("GET repository:public/app:pull,push by alice");
  expect(tokens.requests).toContain("POST repository:private/app:pull,push by alice");
  // One token serves a whole push.
  expect(tokens.requests.filter((request) => request === "GET repository:public/app:pull,push by alice")).toHaveLength(
    1,
  );

  await using other = await openImageEngine();
  await other.images.pull(other.ctx, { reference: publicName }, noProgress);
  await expect(other.images.pull(other.ctx, { reference: privateName }, noProgress)).rejects.toThrow(
    `pull access denied for ${privateName}, repository does not exist or may require 'docker login'`,
  );
  const wrong = { username: "alice", password: "guess" };
  await expect(other.images.pull(other.ctx, { reference: privateName, auth: wrong }, noProgress)).rejects.toThrow(
    "unauthorized: wrong password",
  );
  await other.images.pull(other.ctx, { reference: privateName, auth: tokenUser }, noProgress);
});

test("a mirror of docker.io is asked first; a dead one is passed over", async () => {
  await using registry = await startRegistry();
  await using engine = await openImageEngine();
  await loadSample(engine, `${registry.host}/library/ubuntu:18.04`);
  await engine.images.push(engine.ctx, { reference: `${registry.host}/library/ubuntu:18.04` }, noProgress);

  const config = (mirrors: readonly string[]) => ({
    registryMirrors: [...mirrors],
    insecureRegistries: [],
    maxConcurrentDownloads: 3,
    maxConcurrentUploads: 3,
  });
  const dead = `http://127.0.0.1:${await freePort()}`;
  await using user = await openImageEngine({ config: config([dead, `http://${registry.host}`]) });
  const progress = recordProgress();
  const image = await user.images.pull(user.ctx, { reference: "ubuntu:18.04" }, progress.sink);
  expect(image.tags).toEqual(["docker.io/library/ubuntu:18.04"]);
  expect(image.repoDigests[0]).toMatch(/^docker\.io\/library\/ubuntu@sha256:/);
  expect(progress.lines[0]).toBe("18.04 Pulling from library/ubuntu");
  expect(progress.lines.at(-1)).toBe("Status: Downloaded newer image for ubuntu:18.04");
});

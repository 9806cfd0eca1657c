/** Repositories as build contexts, as named ones and in ADD, from a plain HTTP server. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  createReadStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, normalize } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BuildxClient } from "../support/buildx-client.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";

describe("builds of git repositories", () => {
  const closers = new AsyncDisposableStack();
  let engine: EngineProcess;
  let buildx: BuildxClient;
  let directory: string;
  let url: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(realpathSync(tmpdir()), "berth-git-"));
    closers.defer(() => rmSync(directory, { recursive: true }));
    engine = await EngineProcess.start();
    closers.defer(async () => {
      await engine.remove();
      await assertNothingLeft(engine);
    });
    buildx = new BuildxClient(engine);
    makeRepository();
    const served = (path: string): string => join(directory, normalize(`/${path}`));
    const server = createServer((request, response) => {
      const file = createReadStream(served(new URL(request.url ?? "/", "http://x").pathname));
      file.once("error", () => response.writeHead(404).end()).pipe(response);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    closers.defer(() => void server.close());
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/repo.git`;
  });
  afterAll(async () => {
    await closers.disposeAsync();
  });

  /** Bare, as files: with a tag "old" whose file differs from the main branch's. */
  function makeRepository(): void {
    const work = join(directory, "work");
    mkdirSync(join(work, "sub"), { recursive: true });
    const git = (at: string, ...words: readonly string[]): void => {
      const names = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
      execFileSync("git", [...names, "-C", at, ...words], { stdio: "pipe", env: { ...process.env, HOME: directory } });
    };
    git(work, "init");
    writeFileSync(join(work, "Dockerfile"), "FROM scratch\nCOPY sub /from-context/\n");
    writeFileSync(join(work, "sub", "a"), "old\n");
    git(work, "add", ".");
    git(work, "commit", "-m", "one");
    git(work, "tag", "old");
    writeFileSync(join(work, "sub", "a"), "new\n");
    git(work, "commit", "-am", "two");
    git(directory, "clone", "--bare", work, "repo.git");
    git(join(directory, "repo.git"), "update-server-info");
  }

  const output = async (name: string, ...words: readonly string[]): Promise<string> => {
    const to = join(directory, `out-${name}`);
    const { code, stderr } = await buildx.run("build", "--output", to, ...words);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return to;
  };
  const context = (name: string, dockerfile: string): string => {
    mkdirSync(join(directory, name));
    writeFileSync(join(directory, name, "Dockerfile"), dockerfile);
    return join(directory, name);
  };

  it("takes one as its context, at a tag", async () => {
    expect(readFileSync(join(await output("head", url), "from-context/a"), "utf8")).toBe("new\n");
    expect(readFileSync(join(await output("tag", `${url}#old`), "from-context/a"), "utf8")).toBe("old\n");
  });

  it("takes one as a named context", async () => {
    const at = context("named", "FROM scratch\nCOPY --from=code a /\n");
    const to = await output("named", "--build-context", `code=${url}#old:sub`, at);
    expect(readFileSync(join(to, "a"), "utf8")).toBe("old\n");
  });

  it("adds what is in one, without its history unless that is asked for", async () => {
    const to = await output(
      "added",
      context("added", `FROM scratch\nADD ${url}#old:sub /sub\nADD --keep-git-dir ${url} /whole/\nADD ${url} /tree\n`),
    );
    expect(readFileSync(join(to, "sub/a"), "utf8")).toBe("old\n");
    expect(readFileSync(join(to, "whole/sub/a"), "utf8")).toBe("new\n");
    expect(readdirSync(join(to, "whole")).toSorted()).toEqual([".git", "Dockerfile", "sub"]);
    expect(readdirSync(join(to, "tree")).toSorted()).toEqual(["Dockerfile", "sub"]);
  });

  it("knows a commit again that it has added", async () => {
    const at = context("again", `FROM scratch\nADD --keep-git-dir ${url} /\nADD ${url}#old:sub /sub\n`);
    expect((await buildx.run("build", at)).code).toBe(0);
    expect((await buildx.run("build", at)).stderr.match(/CACHED/g)).toHaveLength(2);
  });

  it("says which repository can't be had", async () => {
    const { code, stderr } = await buildx.run("build", context("missing", `FROM scratch\nADD ${url}#none /\n`));
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/cannot fetch the repository http:.*repo\.git: .*none/);
  });
});

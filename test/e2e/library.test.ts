/** The engine without a server, several side by side. */
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, expect, it } from "vitest";
import { background, Engine, noProgress } from "../../src/index.ts";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});
const fresh = (): string => {
  const directory = mkdtempSync(join(realpathSync(tmpdir()), "berth-library-"));
  directories.push(directory);
  return directory;
};

it("opens, works and closes in this process, and leaves nothing", async () => {
  const directory = fresh();
  const ctx = background();
  let tag = "";
  {
    await using engine = await Engine.open({ dataRoot: join(directory, "data"), runRoot: join(directory, "run") });
    tag = engine.tag;
    const [image] = await engine.images.load(
      ctx,
      Readable.from(await busyboxArchive({ tags: ["library:1"] })),
      noProgress,
    );
    expect(image?.tags).toEqual(["docker.io/library/library:1"]);
    expect(engine.images.resolve("library:1").id).toBe(image?.id);
    const { resources, holders } = await engine.capacity(ctx, { verbose: true });
    expect(resources.map(({ resource, allocated }) => [resource, allocated])).toEqual([
      ["cpu", 0],
      ["memory", 0],
      ["pids", 0],
      ["disk", 0],
    ]);
    expect(holders).toEqual([]);
    await expect(
      Engine.open({ dataRoot: join(directory, "data"), runRoot: join(directory, "run") }),
    ).rejects.toMatchObject({ code: "DATA_ROOT_LOCKED" });
  }
  rmSync(directory, { recursive: true });
  await assertNothingLeft({ tag, directory });
});

it("stands beside another engine: same names, same ports inside, own networks", async () => {
  const engines = await Promise.all([EngineProcess.start(), EngineProcess.start()]);
  try {
    for (const [index, engine] of engines.entries()) {
      using client = engine.client();
      const archive = await busyboxArchive({ tags: ["side:1"], files: { "etc/who": `engine ${index}\n` } });
      await client.call("POST", "/images/load", { body: Readable.from([archive]) }).catch(() => undefined);
      const run = await engine.docker(
        "run",
        "-d",
        "--name",
        "web",
        "--stop-signal",
        "KILL",
        "-p",
        "127.0.0.1:0:80",
        "side:1",
        "httpd",
        "-f",
        "-p",
        "80",
        "-h",
        "/etc",
      );
      expect(run).toMatchObject({ code: 0 });
    }
    const answers = await Promise.all(
      engines.map(async (engine) => {
        const port = /:(\d+)\s*$/.exec((await engine.docker("port", "web", "80")).stdout)?.[1];
        return await (await fetch(`http://127.0.0.1:${port}/who`)).text();
      }),
    );
    expect(answers).toEqual(["engine 0\n", "engine 1\n"]);
    await engines[0].remove();
    const port = /:(\d+)\s*$/.exec((await engines[1].docker("port", "web", "80")).stdout)?.[1];
    expect(await (await fetch(`http://127.0.0.1:${port}/who`)).text()).toBe("engine 1\n");
  } finally {
    for (const engine of engines) {
      await engine.remove();
      await assertNothingLeft(engine);
    }
  }
});

/** BuildKit by `POST /build?version=2`, as dockerode asks for it and reads it: a reader of the traces that is not ours. */
import { PassThrough, type Readable } from "node:stream";
import { text } from "node:stream/consumers";
import Docker from "dockerode";
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EngineClient } from "../../src/client/engine-client.ts";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { runCommand } from "../support/run-command.ts";

interface Event {
  readonly stream?: string;
  readonly error?: string;
  readonly id?: string;
  readonly aux?: { readonly ID?: string };
}

/** Not in dockerode's types yet. */
interface Following {
  followProgress(
    stream: NodeJS.ReadableStream,
    onFinished: (error: Error | null, events: readonly Event[]) => void,
  ): void;
}

describe("POST /build?version=2", () => {
  const closers = new AsyncDisposableStack();
  let engine: EngineProcess;
  let docker: Docker & Following;

  beforeAll(async () => {
    engine = await EngineProcess.start();
    closers.defer(async () => {
      await engine.remove();
      await assertNothingLeft(engine);
    });
    docker = new Docker({ socketPath: engine.host.slice("unix://".length) }) as Docker & Following;
    const env = { DOCKER_HOST: engine.host };
    const input = await busyboxArchive({ tags: ["busybox:latest"] });
    expect(await runCommand("docker", ["load"], { env, input })).toMatchObject({ code: 0 });
  });
  afterAll(async () => {
    await closers.disposeAsync();
  });

  const tarOf = (dockerfile: string): Readable => {
    const tar = pack();
    tar.entry({ name: "Dockerfile" }, dockerfile);
    tar.finalize();
    return tar.pipe(new PassThrough());
  };
  /** What dockerode's own decoder makes of the answer. */
  const build = async (dockerfile: string, options: Docker.ImageBuildOptions) => {
    const answer = await docker.buildImage(tarOf(dockerfile), { version: "2", ...options });
    return await new Promise<{ readonly error: Error | null; readonly events: readonly Event[] }>((resolve) => {
      docker.followProgress(answer, (error, events) => resolve({ error, events }));
    });
  };
  const textOf = (events: readonly Event[]) => events.map(({ stream = "" }) => stream).join("");

  it("tells each step as it is done, then the image's id; the next build finds them in the cache", async () => {
    const file = "FROM busybox\nARG WHO\nRUN echo built for $WHO >/who\nCMD cat /who\n";
    const { error, events } = await build(file, { t: "v2:1", buildargs: { WHO: "you" } });
    expect(error).toBeNull();
    expect(textOf(events)).toMatch(/FROM docker\.io\/library\/busybox:latest[^]*RUN echo built for/);
    const { Id } = await docker.getImage("v2:1").inspect();
    expect(await engine.docker("run", "--rm", "v2:1")).toMatchObject({ stdout: "built for you\n" });
    const answer = await docker.buildImage(tarOf(file), { version: "2", t: "v2:2", buildargs: { WHO: "you" } });
    const again = await text(answer);
    expect(JSON.parse(again.trimEnd().split("\n").at(-1) ?? "")).toEqual({ id: "moby.image.id", aux: { ID: Id } });
  });

  it("ends with the step that failed, in BuildKit's words", async () => {
    const { error, events } = await build("FROM busybox\nRUN echo this is why; exit 7\n", {});
    expect(error?.message ?? events.at(-1)?.error).toContain(
      'process "/bin/sh -c echo this is why; exit 7" did not complete successfully: exit code: 7',
    );
    expect(textOf(events)).toContain("this is why");
  });

  it("is cancelled by its id", async () => {
    using client = new EngineClient(engine.host, undefined, "1.51");
    const query = { version: "2", buildid: "mine" };
    const body = tarOf("FROM busybox\nRUN echo begun; sleep 1000\n");
    const { body: answer } = await client.stream("POST", "/build", { query, body });
    let seen = "";
    for await (const chunk of answer) {
      const before = seen;
      seen += String(chunk);
      // The step has begun: its name was told.
      if (!before.includes("moby.buildkit.trace") && seen.includes("moby.buildkit.trace")) {
        await client.stream("POST", "/build/cancel", { query: { id: "mine" } });
      }
    }
    expect(seen).toContain('"error":"context canceled"');
    // One that is over is no error.
    await client.stream("POST", "/build/cancel", { query: { id: "mine" } });
  });
});

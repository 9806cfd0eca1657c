import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { BerthError } from "../src/base/errors.ts";
import { background } from "../src/base/op-context.ts";
import { EngineClient, readAll } from "../src/client/engine-client.ts";
import type { Processes } from "../src/host/host.ts";
import { enginePids } from "./engine-processes.ts";

/** Old enough for every engine with a Docker API (Podman serves 1.41). */
const commonApiVersion = "1.41";

/** For the longest command, a cold build on a slow engine. */
const clientTimeoutMs = 600_000;

/** The name under which every engine gets the small image. */
export const smallImage = "berth-bench:small";

export interface MeasuredEngineOptions {
  readonly name: string;
  /** As DOCKER_HOST has it. */
  readonly host: string;
  /** A configuration directory for the client of its own: no proxies, credentials and contexts of the user. */
  readonly dockerConfig: string;
  /** Starts the client by posix_spawn: a fork's cost, which grows with the benchmark's memory, would be added to every figure. */
  readonly processes: Pick<Processes, "run">;
  readonly berth?: { readonly runRoot: string };
}

/** An engine with a Docker API: asked by the docker client, and at its API over kept connections. */
export class MeasuredEngine implements Disposable {
  readonly name: string;
  readonly host: string;
  readonly isBerth: boolean;
  readonly api: EngineClient;
  /** What all our containers on it are called by, so that they can be found and removed. */
  readonly prefix = `berth-bench-${randomBytes(3).toString("hex")}`;
  readonly #options: MeasuredEngineOptions;
  #names = 0;

  constructor(options: MeasuredEngineOptions) {
    this.name = options.name;
    this.host = options.host;
    this.isBerth = options.berth !== undefined;
    this.api = new EngineClient(options.host, undefined, commonApiVersion);
    this.#options = options;
  }

  /** A name for a container that nobody else has. */
  nextName(): string {
    return `${this.prefix}-${this.#names++}`;
  }

  /** Runs the docker client to its end and answers what it printed. Throws what it said when it fails. */
  async docker(...words: readonly string[]): Promise<string> {
    return (await this.#client(words)).stdout;
  }

  /** Runs the docker client and answers the milliseconds from before its start to its end. */
  async timeDocker(...words: readonly string[]): Promise<number> {
    return (await this.#client(words)).ms;
  }

  /** Loads an archive of images through the API. */
  async load(archive: Buffer): Promise<void> {
    const { body } = await this.api.stream("POST", "/images/load", {
      query: { quiet: 1 },
      body: Readable.from([archive]),
    });
    await readAll(body);
  }

  /** Processes that the engine needs: itself, its children, and what watches its containers. Never the workloads. */
  async pids(): Promise<readonly number[]> {
    return await enginePids(this, this.#options.berth?.runRoot);
  }

  /** Removes all containers that the benchmark made on it. */
  async removeContainers(): Promise<void> {
    const found = await this.api.call<readonly { readonly Id: string; readonly Names: readonly string[] }[]>(
      "GET",
      "/containers/json",
      { query: { all: 1 } },
    );
    const ours = found.filter(({ Names }) => Names.some((name) => name.startsWith(`/${this.prefix}`)));
    for (const { Id } of ours) await this.api.call("DELETE", `/containers/${Id}`, { query: { force: 1, v: 1 } });
  }

  /** Berth's metrics, as Prometheus reads them. */
  async scrape(): Promise<string> {
    const { body } = await this.api.stream("GET", "/metrics");
    return await readAll(body);
  }

  /** Takes an image's name off, and the image with it; one that is not there is no error. */
  async removeImage(tag: string): Promise<void> {
    try {
      await this.api.call("DELETE", `/images/${tag}`, { query: { force: 1 } });
    } catch (error) {
      if (!(error instanceof BerthError && error.status === 404)) throw error;
    }
  }

  [Symbol.dispose](): void {
    this.api[Symbol.dispose]();
  }

  async #client(words: readonly string[]): Promise<{ readonly ms: number; readonly stdout: string }> {
    const started = performance.now();
    const { code, stdout, stderr } = await this.#options.processes.run(background(), {
      argv: ["docker", ...words],
      env: {
        ...definedOnly(process.env),
        DOCKER_HOST: this.host,
        DOCKER_CONFIG: this.#options.dockerConfig,
        DOCKER_CLI_HINTS: "false",
        DOCKER_BUILDKIT: "0",
      },
      timeoutMs: clientTimeoutMs,
    });
    const ms = performance.now() - started;
    if (code === 0) return { ms, stdout };
    throw new Error(`docker ${words.join(" ")} on ${this.name}: exit code ${code}: ${stderr.trim().slice(-500)}`);
  }
}

function definedOnly(environment: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

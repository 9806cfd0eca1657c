/** The engine of this tree, as built, on a private data root: what suites run against unless `--engine` names another. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EngineClient, readAll } from "../src/client/engine-client.ts";

const program = new URL("../bin/berth", import.meta.url).pathname;
const built = new URL("../dist/main.js", import.meta.url).pathname;
const startTimeoutMs = 60_000;
/** Whoever removes a container of a suite waits at most this long for it. */
const endTimeoutMs = 120_000;

export interface OwnEngineOptions {
  /** Its directory is made in here. */
  readonly directory: string;
  /** "127.0.0.1:PORT" of the registry it has as its mirror of docker.io and quay.io. */
  readonly registry: string;
  readonly bip: string;
}

export class OwnEngine implements AsyncDisposable {
  readonly socket: string;
  readonly #directory: string;
  readonly #child: ChildProcess;

  private constructor(directory: string, child: ChildProcess) {
    this.#directory = directory;
    this.socket = join(directory, "docker.sock");
    this.#child = child;
  }

  static async start({ directory: parent, registry, bip }: OwnEngineOptions): Promise<OwnEngine> {
    if (!existsSync(built)) throw new Error("the engine is not built: run `npm run build` first");
    const directory = await mkdtemp(join(await realpath(parent), "berth-conformance-"));
    await mkdir(join(directory, "data"));
    const log = openSync(join(directory, "engine.log"), "a");
    const flags = [
      `--data-root=${join(directory, "data")}`,
      `--run-root=${join(directory, "run")}`,
      `--host=unix://${join(directory, "docker.sock")}`,
      `--bip=${bip}`,
      "--log-level=debug",
      `--registry-mirror=http://${registry}`,
      `--registry-mirror=quay.io=http://${registry}`,
    ];
    // In a process group of its own: an interrupt from the terminal is ours to answer, by an orderly end.
    const child = spawn(program, ["daemon", ...flags], { stdio: ["ignore", log, log], detached: true });
    closeSync(log);
    const engine = new OwnEngine(directory, child);
    try {
      const started = performance.now();
      while (child.exitCode === null && performance.now() - started < startTimeoutMs) {
        if (await answers(engine.socket)) return engine;
        await sleep(20);
      }
      throw new Error(`the engine did not start:\n${engine.log().slice(-2000)}`);
    } catch (error) {
      await engine[Symbol.asyncDispose]();
      throw error;
    }
  }

  log(): string {
    return readFileSync(join(this.#directory, "engine.log"), "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      if (await answers(this.socket)) await clearEngine(this.socket, AbortSignal.timeout(endTimeoutMs));
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#child.once("exit", () => resolve());
      this.#child.kill("SIGTERM");
      await promise;
    }
    if (process.env["BERTH_KEEP"] === undefined) await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Whether an engine answers at this socket. */
export async function answers(socket: string): Promise<boolean> {
  if (!existsSync(socket)) return false;
  using client = new EngineClient(`unix://${socket}`, undefined, "1.41");
  try {
    await client.stream("GET", "/_ping");
    return true;
  } catch {
    return false;
  }
}

/** What suites do to an engine nobody does to one that is in use. */
export async function requireEmpty(socket: string): Promise<void> {
  using api = new EngineClient(`unix://${socket}`, undefined, "1.41");
  const containers = await api.call<readonly unknown[]>("GET", "/containers/json", { query: { all: 1 } });
  const { Volumes } = await api.call<{ readonly Volumes: readonly unknown[] | null }>("GET", "/volumes");
  const networks = await api.call<readonly unknown[]>("GET", "/networks", {
    query: { filters: '{"type":["custom"]}' },
  });
  const found = [
    ...(containers.length > 0 ? [`${containers.length} containers`] : []),
    ...((Volumes?.length ?? 0) > 0 ? [`${Volumes?.length} volumes`] : []),
    ...(networks.length > 0 ? [`${networks.length} networks`] : []),
  ];
  if (found.length === 0) return;
  throw new Error(
    `the engine at ${socket} has ${found.join(", ")}, which the suites would remove: give one that is empty`,
  );
}

/** Removes all containers, networks, volumes and, where asked, images, as between two suites that each expect an engine of their own. */
export async function clearEngine(
  socket: string,
  signal: AbortSignal,
  { images = false }: { readonly images?: boolean } = {},
): Promise<void> {
  using api = new EngineClient(`unix://${socket}`, undefined, "1.41");
  const containers = await api.call<readonly { readonly Id: string; readonly State: string }[]>(
    "GET",
    "/containers/json",
    {
      query: { all: 1 },
      signal,
    },
  );
  for (const { Id, State } of containers) {
    // Some engines refuse to remove what is paused.
    if (State === "paused") await read(api, "POST", `/containers/${Id}/unpause`, {}, signal);
    await read(api, "DELETE", `/containers/${Id}`, { force: 1, v: 1 }, signal);
  }
  await read(api, "POST", "/networks/prune", {}, signal);
  await read(api, "POST", "/volumes/prune", { filters: '{"all":["true"]}' }, signal);
  if (images) await read(api, "POST", "/images/prune", { filters: '{"dangling":["false"]}' }, signal);
}

/** What is gone already, or on its way, is as good as removed. */
async function read(
  api: EngineClient,
  method: string,
  path: string,
  query: Readonly<Record<string, string | number>>,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { body } = await api.stream(method, path, { query, signal });
    await readAll(body);
  } catch (error) {
    if (signal.aborted) throw error;
  }
}

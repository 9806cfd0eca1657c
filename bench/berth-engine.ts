/** The engine of this tree, as built, with its default settings on a private data root. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, realpath, rm } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Processes } from "../src/host/host.ts";
import { MeasuredEngine } from "./measured-engine.ts";

const program = new URL("../bin/berth", import.meta.url).pathname;
const built = new URL("../dist/main.js", import.meta.url).pathname;

export interface BerthOptions {
  /** Where its private directory is made. On the file system that the peers use, or the comparison is not fair. */
  readonly directory: string;
  readonly dockerConfig: string;
  readonly processes: Pick<Processes, "run">;
  /** Further flags of `berth daemon`. */
  readonly flags: readonly string[];
}

export class BerthEngine implements AsyncDisposable {
  readonly directory: string;
  readonly dataRoot: string;
  readonly runRoot: string;
  readonly measured: MeasuredEngine;
  readonly #flags: readonly string[];
  readonly #socket: string;
  #child: ChildProcess | undefined;

  private constructor(directory: string, options: BerthOptions) {
    this.directory = directory;
    this.dataRoot = join(directory, "data");
    this.runRoot = join(directory, "run");
    this.#flags = options.flags;
    this.#socket = join(directory, "docker.sock");
    this.measured = new MeasuredEngine({
      name: "berth",
      host: `unix://${this.#socket}`,
      dockerConfig: options.dockerConfig,
      processes: options.processes,
      berth: { runRoot: this.runRoot },
    });
  }

  static async start(options: BerthOptions): Promise<BerthEngine> {
    if (!existsSync(built)) throw new Error("the engine is not built: run `npm run build` first");
    const directory = await mkdtemp(join(await realpath(options.directory), "berth-bench-"));
    const engine = new BerthEngine(directory, options);
    try {
      await mkdir(engine.dataRoot);
      await engine.boot();
    } catch (error) {
      await engine[Symbol.asyncDispose]();
      throw error;
    }
    return engine;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts the process (again) and answers the milliseconds until it answers a ping. */
  async boot(): Promise<number> {
    const log = openSync(join(this.directory, "engine.log"), "a");
    const started = performance.now();
    const child = spawn(
      program,
      ["daemon", "--data-root", this.dataRoot, "--run-root", this.runRoot, "-H", this.measured.host, ...this.#flags],
      // In a process group of its own: an interrupt from the terminal is ours to answer, by an orderly end.
      { stdio: ["ignore", log, log], detached: true },
    );
    this.#child = child;
    closeSync(log);
    while (child.exitCode === null && performance.now() - started < 60_000) {
      if (await answers(this.#socket)) return performance.now() - started;
      await sleep(2);
    }
    throw new Error(`the engine did not start:\n${this.log().slice(-2000)}`);
  }

  log(): string {
    return readFileSync(join(this.directory, "engine.log"), "utf8");
  }

  /** SIGKILL, as a crash would: what runs runs on. */
  async crash(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child?.exitCode === null && (await answers(this.#socket))) {
      await this.measured.removeContainers();
      await this.#end("SIGTERM");
    } else await this.#end("SIGKILL");
    this.measured[Symbol.dispose]();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }
}

/** Whether a ping gets an answer: over a plain socket, so that asking costs next to nothing. */
async function answers(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once("error", () => resolve(false));
  socket.once("close", () => resolve(false));
  socket.once("data", (data) => resolve(data.toString("latin1").startsWith("HTTP/1.1 200")));
  socket.once("connect", () => socket.write("GET /_ping HTTP/1.1\r\nHost: berth\r\nConnection: close\r\n\r\n"));
  const answered = await promise;
  socket.destroy();
  return answered;
}

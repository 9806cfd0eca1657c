/** A real engine of our own in a process of its own, on private directories, a private subnet and a private socket. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineClient } from "../../src/client/engine-client.ts";
import { type CommandResult, runCommand } from "./run-command.ts";

/** The sources, or what was built of them: `npm test` tests the build, which is what users run and starts three times as fast. */
export const entry = process.env["BERTH_TEST_ENTRY"] ?? new URL("../../src/main.ts", import.meta.url).pathname;

export interface EngineOptions {
  /** Further flags of `berth daemon`. */
  readonly flags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** A client that takes longer hangs; milliseconds. */
  readonly commandTimeoutMs?: number;
  /** An existing directory, on a file system of its own say; not deleted by `remove`. Else one below the engine's directory. */
  readonly dataRoot?: string;
  /** A process group of its own: a Ctrl-C is for its parent alone, which ends it in its time. */
  readonly ownGroup?: boolean;
}

export class EngineProcess {
  readonly directory: string;
  readonly dataRoot: string;
  readonly runRoot: string;
  readonly host: string;
  readonly tag: string;
  readonly #options: EngineOptions;
  #child: ChildProcess | undefined;

  private constructor(options: EngineOptions) {
    this.#options = options;
    this.directory = mkdtempSync(join(realpathSync(tmpdir()), "berth-e2e-"));
    this.dataRoot = options.dataRoot ?? join(this.directory, "data");
    this.runRoot = join(this.directory, "run");
    if (options.dataRoot === undefined) mkdirSync(this.dataRoot);
    this.host = `unix://${join(this.directory, "docker.sock")}`;
    this.tag = createHash("sha256").update(this.dataRoot).digest("hex").slice(0, 6);
  }

  static async start(options: EngineOptions = {}): Promise<EngineProcess> {
    const engine = new EngineProcess(options);
    try {
      await engine.boot();
    } catch (error) {
      await engine.remove();
      throw error;
    }
    return engine;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get alive(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Whether it ends by itself within this time. */
  async ended(timeoutMs: number): Promise<boolean> {
    const child = this.#child;
    if (child === undefined || !this.alive) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), timeoutMs);
    child.once("exit", () => resolve(true));
    return await promise.finally(() => clearTimeout(timer));
  }

  log(): string {
    return readFileSync(join(this.directory, "engine.log"), "utf8");
  }

  /** Starts the process (again) and waits until the API answers. */
  async boot(): Promise<void> {
    const log = openSync(join(this.directory, "engine.log"), "a");
    const flags = [
      "--data-root",
      this.dataRoot,
      "--run-root",
      this.runRoot,
      "-H",
      this.host,
      "--log-level",
      "debug",
      ...(this.#options.flags ?? []),
    ];
    this.#child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", entry, "daemon", ...flags], {
      stdio: ["ignore", log, log],
      detached: this.#options.ownGroup ?? false,
      env: { ...process.env, ...this.#options.environment },
    });
    closeSync(log);
    for (let tries = 0; tries < 3000; tries++) {
      if (!this.alive) break;
      if (await this.#answers()) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`the engine did not start:\n${this.log().slice(-2000)}`);
  }

  /** SIGKILL, as a crash would. */
  async crash(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** SIGTERM and its orderly end. */
  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  client(): EngineClient {
    return new EngineClient(this.host);
  }

  /** Runs the real docker client on this engine. */
  async docker(...words: readonly string[]): Promise<CommandResult> {
    return await runCommand("docker", words, {
      env: {
        DOCKER_HOST: this.host,
        DOCKER_CONFIG: join(this.directory, "docker-config"),
        DOCKER_CLI_HINTS: "false",
        DOCKER_BUILDKIT: "0",
      },
      ...this.#limit(),
    });
  }

  /** Runs Berth's own command line on this engine. */
  async berth(...words: readonly string[]): Promise<CommandResult> {
    return await runCommand(process.execPath, ["--disable-warning=ExperimentalWarning", entry, ...words], {
      env: { BERTH_HOST: this.host, DOCKER_CONFIG: join(this.directory, "docker-config") },
      ...this.#limit(),
    });
  }

  /** Removes all containers, ends the engine and deletes its directories. Call {@link assertNothingLeft} after it. */
  async remove(): Promise<void> {
    if (await this.#answers()) {
      const { stdout } = await this.docker("ps", "-aq");
      const ids = stdout.split("\n").filter((id) => id !== "");
      if (ids.length > 0) await this.docker("rm", "-fv", ...ids);
      const networks = (await this.docker("network", "ls", "-q", "--filter", "type=custom")).stdout
        .split("\n")
        .filter((id) => id !== "");
      if (networks.length > 0) await this.docker("network", "rm", ...networks);
    }
    await this.stop();
    if (process.env["BERTH_KEEP"] === undefined) rmSync(this.directory, { recursive: true, force: true });
  }

  #limit(): { readonly timeoutMs?: number } {
    const { commandTimeoutMs } = this.#options;
    return commandTimeoutMs === undefined ? {} : { timeoutMs: commandTimeoutMs };
  }

  async #answers(): Promise<boolean> {
    using client = this.client();
    try {
      await client.stream("GET", "/_ping");
      return true;
    } catch {
      return false;
    }
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }
}

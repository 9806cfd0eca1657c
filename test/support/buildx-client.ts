/** The real docker buildx: the plug-in that `scripts/buildx-client.sh` unpacked, run by itself. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { EngineProcess } from "./engine-process.ts";
import { type CommandResult, runCommand } from "./run-command.ts";

const program = new URL("../../.cache/docker-client/cli-plugins/docker-buildx", import.meta.url).pathname;

export class BuildxClient {
  readonly #engine: EngineProcess;

  constructor(engine: EngineProcess) {
    this.#engine = engine;
  }

  /** Runs it to its end, whatever its exit code is. */
  async run(...words: readonly string[]): Promise<CommandResult> {
    return await runCommand(program, words, { env: this.#environment() });
  }

  /** As {@link run}, with standard input. */
  async runWith(input: Buffer, ...words: readonly string[]): Promise<CommandResult> {
    return await runCommand(program, words, { env: this.#environment(), input });
  }

  /** Starts a command that goes on until it is told to end. */
  start(...words: readonly string[]): ChildProcess {
    return spawn(program, words, {
      env: { ...process.env, ...this.#environment() },
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  #environment(): Record<string, string> {
    const config = join(this.#engine.directory, "buildx-config");
    return { DOCKER_HOST: this.#engine.host, DOCKER_CONFIG: config, HOME: config, BUILDKIT_PROGRESS: "plain" };
  }
}

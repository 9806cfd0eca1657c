/** The real docker compose: the plugin that `scripts/compose-client.sh` unpacked, or the host's own. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { EngineProcess } from "./engine-process.ts";
import { type CommandResult, runCommand } from "./run-command.ts";

const unpacked = new URL("../../.cache/docker-client/cli-plugins/docker-compose", import.meta.url).pathname;

export class ComposeClient {
  readonly #engine: EngineProcess;
  readonly #project: string;
  readonly #environment: Readonly<Record<string, string>>;

  /** `project` is the directory of the compose.yaml. */
  constructor(engine: EngineProcess, project: string, environment: Readonly<Record<string, string>> = {}) {
    this.#engine = engine;
    this.#project = project;
    this.#environment = environment;
  }

  /** Runs it to its end, whatever its exit code is. */
  async run(...words: readonly string[]): Promise<CommandResult> {
    const [program, ...first] = composeCommand;
    return await runCommand(program, [...first, ...words], this.#options());
  }

  /** What it prints; an exit code other than 0 is an error. */
  async output(...words: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...words);
    if (code !== 0) throw new Error(`compose ${words.join(" ")}: ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  /** The rows of `ps --all`, by the container's name. */
  async containers(): Promise<Readonly<Record<string, ComposeContainer>>> {
    const text = await this.output("ps", "--all", "--format", "json");
    const rows = text.split("\n").filter((line) => line !== "");
    return Object.fromEntries(
      rows.map((line) => {
        const row = JSON.parse(line) as ComposeContainer;
        return [row.Name, row];
      }),
    );
  }

  /** Starts a command that goes on until it is told to end. */
  start(...words: readonly string[]): ChildProcess {
    const [program, ...first] = composeCommand;
    const { cwd, env } = this.#options();
    return spawn(program, [...first, ...words], {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  #options() {
    return {
      cwd: this.#project,
      env: {
        DOCKER_HOST: this.#engine.host,
        // A watch locks its project there, for all engines.
        HOME: this.#engine.directory,
        DOCKER_CONFIG: join(this.#engine.directory, "docker-config"),
        DOCKER_BUILDKIT: "0",
        COMPOSE_PROGRESS: "plain",
        ...this.#environment,
      },
    };
  }
}

export interface ComposeContainer {
  readonly Name: string;
  readonly Service: string;
  readonly State: string;
  readonly Health: string;
  readonly ExitCode: number;
  readonly ID: string;
}

/** The program and its first words. */
export const composeCommand: readonly [string, ...string[]] = existsSync(unpacked) ? [unpacked] : ["docker", "compose"];

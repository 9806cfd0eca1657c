/**
 * What people do with the `docker` client, as cases: each runs some invocations on an engine and returns their effect, with what
 * can't be the same (ids, times, addresses) left out. The effect on Docker 28 is on record in `docker-28-effects.json`.
 */
import { stripVTControlCharacters } from "node:util";
import type { CommandResult } from "../../support/run-command.ts";

export interface Docker {
  /** Runs the client; `input` goes to its stdin. */
  run(words: readonly string[], input?: string | Uint8Array): Promise<CommandResult>;
}

export interface DockerCase {
  readonly name: string;
  effect(docker: Docker): Promise<unknown>;
}

/** Loaded into every engine before the cases. */
export const image = "berth-case:1";
export const scrub = (text: string): string =>
  stripVTControlCharacters(text)
    .replaceAll(/\b[0-9a-f]{64}\b/g, "ID64")
    .replaceAll(/\b[0-9a-f]{12}\b/g, "ID12")
    .replaceAll(/\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-]\d\d:?\d\d)?( [+-]\d{4} UTC)?/g, "TIME")
    .trimEnd();
export const brief = ({ code, stdout, stderr }: CommandResult) => ({
  code,
  stdout: scrub(stdout),
  stderr: scrub(stderr),
});
/** The error as the client prints it, without the advice after it, which is the client's own. */
export const errorOnly = ({ code, stderr }: CommandResult) => ({
  code,
  error: scrub(stderr)
    .split("\n")[0]
    ?.replace(/^docker: /, "")
    .replace(/^Error response from daemon: /, "")
    .replace("is a directory: permission denied", "permission denied")
    // Docker names every program on the way to the reason; the reason is what counts.
    .replace(/^.*(?=exec: ")/, ""),
});
export const words = (line: string): string[] => line.split(" ").filter((word) => word !== "");

/** One invocation, its whole effect. */
export const plain = (name: string, ...given: readonly (string | readonly string[])[]): DockerCase => ({
  name,
  effect: async (docker) =>
    brief(await docker.run(given.flatMap((word) => (typeof word === "string" ? words(word) : word)))),
});

/** One invocation that fails. */
export const refused = (name: string, ...given: readonly string[]): DockerCase => ({
  name,
  effect: async (docker) => errorOnly(await docker.run(given.flatMap(words))),
});

/** Works on a running container called `case`, which is removed afterwards. */
export const running = (
  name: string,
  options: string,
  effect: (docker: Docker) => Promise<unknown>,
  command: readonly string[] = ["sleep", "1000"],
): DockerCase => ({
  name,
  effect: async (docker) => {
    const started = await docker.run([
      ...words(`run -d --name case --stop-signal KILL ${options} ${image}`),
      ...command,
    ]);
    try {
      if (started.code !== 0) return errorOnly(started);
      return await effect(docker);
    } finally {
      await docker.run(words("rm -fv case"));
    }
  },
});

/** Until the container called `case` has said "ready": a process that has just begun has no traps yet. */
export const ready = async (docker: Docker): Promise<void> => {
  for (let tries = 0; tries < 300; tries++) {
    if ((await docker.run(words("logs case"))).stdout.includes("ready")) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

export const inspect = async (docker: Docker, format: string, name = "case"): Promise<string> =>
  (await docker.run(["inspect", "-f", format, name])).stdout.trim();
export const sh = (script: string): readonly string[] => ["sh", "-c", script];

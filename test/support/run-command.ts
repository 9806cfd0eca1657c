import { spawn } from "node:child_process";

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** Added to ours. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}

/** Runs a program to its end. A non-zero code is no error; a program that is missing or hangs is. */
export async function runCommand(
  program: string,
  words: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  const child = spawn(program, [...words], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk;
  });
  const timer = setTimeout(() => {
    child.kill("SIGKILL");
    reject(new Error(`${program} ${words.join(" ")} hangs; so far it printed:\n${stdout}${stderr}`));
  }, options.timeoutMs ?? 120_000);
  child.once("error", reject);
  child.once("close", (code, signal) => {
    clearTimeout(timer);
    resolve({ code: code ?? (signal === null ? -1 : 128), stdout, stderr });
  });
  child.stdin.on("error", () => {}); // It may end before it has read all.
  child.stdin.end(options.input);
  return await promise;
}

import { BerthError, isBerthError, messageOf } from "../base/errors.ts";
import { berthVersion } from "../base/version.ts";
import { defaultHost } from "../client/address.ts";
import { EngineClient } from "../client/engine-client.ts";
import type { CliContext } from "./command.ts";
import { cliErrors } from "./errors.ts";
import { runProgram } from "./program.ts";

/** Runs the command line `words` (without node and the program's name) and returns the exit code. */
export async function main(words: readonly string[]): Promise<number> {
  let exitCode = 0;
  let command = words;
  const interrupted = new AbortController();
  try {
    const { host, tls, rest, showVersion } = globalOptions(words, process.env);
    command = rest;
    if (showVersion) {
      process.stdout.write(`Berth version ${berthVersion()}\n`);
      return 0;
    }
    // The client only connects when a command calls it, so that --help needs no engine.
    using client = new EngineClient(host, tls);
    const ctx: CliContext = {
      client,
      stdin: process.stdin,
      stdout: process.stdout,
      stderr: process.stderr,
      environment: process.env,
      now: () => Date.now(),
      signal: interrupted.signal,
      setExitCode: (code) => {
        exitCode = code;
      },
    };
    await runProgram(ctx, rest);
  } catch (error) {
    if (error instanceof Error && error.name === "AbortError") return 130;
    process.stderr.write(`berth: ${messageOf(error)}\n`);
    if (isBerthError(error) && error.hint !== undefined) process.stderr.write(`${error.hint}\n`);
    if (!(error instanceof BerthError) && process.env["BERTH_DEBUG"] !== undefined) console.error(error);
    return exitCode === 0 ? failureCode(command, error) : exitCode;
  }
  return exitCode;
}

interface GlobalOptions {
  readonly host: string;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string } | undefined;
  readonly rest: readonly string[];
  readonly showVersion: boolean;
}

/** Reads the options in front of the command. */
function globalOptions(words: readonly string[], environment: NodeJS.ProcessEnv): GlobalOptions {
  let host = environment["BERTH_HOST"] ?? defaultHost;
  if (host === "") host = defaultHost;
  const tls: Record<string, string> = {};
  let index = 0;
  for (; index < words.length; index++) {
    const word = words[index] ?? "";
    const [name = "", inline] = word.split(/=(.*)/s, 2);
    const value = (): string => {
      const given = inline ?? words[++index];
      if (given === undefined) throw cliErrors.USAGE({ reason: `flag needs an argument: ${name}`, command: "" });
      return given;
    };
    if (word === "-v" || word === "--version") return { host, tls: undefined, rest: [], showVersion: true };
    if (name === "-H" || name === "--host") host = value();
    else if (/^-H./.test(word)) host = word.slice(2);
    else if (name === "--tlscacert" || name === "--tlscert" || name === "--tlskey") tls[name] = value();
    else break;
  }
  const { "--tlscacert": ca, "--tlscert": cert, "--tlskey": key } = tls;
  const files = ca !== undefined && cert !== undefined && key !== undefined ? { ca, cert, key } : undefined;
  return { host, tls: files, rest: words.slice(index), showVersion: false };
}

/** docker's: `run` fails with 125 when the engine refuses, every other command with 1; so does a command line that makes no sense. */
function failureCode(words: readonly string[], error: unknown): number {
  const isRun = words[0] === "run" || (words[0] === "container" && words[1] === "run");
  return isRun || isBerthError(error, "USAGE") ? 125 : 1;
}

/** Registry credentials from docker's own configuration file and its credential helpers. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import type { CliContext } from "./command.ts";
import { cliErrors } from "./errors.ts";

export interface StoredAuth {
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
}

/** docker's config.json, as far as it concerns registries; the other keys are kept when it is written back. */
export interface DockerConfig {
  auths?: Record<string, { auth?: string; identitytoken?: string }>;
  credsStore?: string;
  credHelpers?: Record<string, string>;
}

export const dockerHub = "https://index.docker.io/v1/";

export function configPath(ctx: Pick<CliContext, "environment">): string {
  return join(ctx.environment["DOCKER_CONFIG"] ?? join(ctx.environment["HOME"] ?? homedir(), ".docker"), "config.json");
}

/** Missing is an empty configuration. */
export function readDockerConfig(path: string): DockerConfig {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as DockerConfig;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return {};
    throw cliErrors.FILE_UNREADABLE({ path, reason: messageOf(error) }, { cause: error });
  }
}

/** The registry that a reference names: what docker's configuration calls its server. */
export function registryOf(reference: string): string {
  const first = reference.split("/")[0] ?? "";
  const isHost = reference.includes("/") && (first.includes(".") || first.includes(":") || first === "localhost");
  return isHost && first !== "docker.io" && first !== "index.docker.io" ? first : dockerHub;
}

/** The X-Registry-Auth header for a reference; none when nothing is stored. */
export async function registryAuth(ctx: CliContext, reference: string): Promise<Readonly<Record<string, string>>> {
  const server = registryOf(reference);
  const stored = await lookUp(readDockerConfig(configPath(ctx)), server);
  if (stored === undefined) return {};
  return { "X-Registry-Auth": encodeHeader({ ...stored, serveraddress: server }) };
}

/** All credentials, for builds: X-Registry-Config. */
export async function allRegistryAuths(ctx: CliContext): Promise<Readonly<Record<string, string>>> {
  const config = readDockerConfig(configPath(ctx));
  const servers = new Set([...Object.keys(config.auths ?? {}), ...Object.keys(config.credHelpers ?? {})]);
  const entries: [string, StoredAuth][] = [];
  for (const server of servers) {
    const stored = await lookUp(config, server);
    if (stored !== undefined) entries.push([server, stored]);
  }
  return entries.length === 0 ? {} : { "X-Registry-Config": encodeHeader(Object.fromEntries(entries)) };
}

async function lookUp(config: DockerConfig, server: string): Promise<StoredAuth | undefined> {
  const helper = config.credHelpers?.[server] ?? config.credsStore;
  if (helper !== undefined) {
    const answer = await runHelper(helper, "get", server);
    if (answer === undefined) return undefined;
    const { Username, Secret } = JSON.parse(answer) as { Username: string; Secret: string };
    return Username === "<token>" ? { identitytoken: Secret } : { username: Username, password: Secret };
  }
  const entry =
    config.auths?.[server] ?? config.auths?.[`https://${server}`] ?? config.auths?.[`https://${server}/v2/`];
  if (entry === undefined) return undefined;
  const text = Buffer.from(entry.auth ?? "", "base64").toString("utf8");
  const at = text.indexOf(":");
  return {
    ...(at > 0 ? { username: text.slice(0, at), password: text.slice(at + 1) } : {}),
    ...(entry.identitytoken === undefined ? {} : { identitytoken: entry.identitytoken }),
  };
}

/** Runs docker-credential-HELPER; undefined when it knows no credentials. See docker's credential-helper protocol. */
export async function runHelper(
  helper: string,
  verb: "get" | "store" | "erase",
  input: string,
): Promise<string | undefined> {
  const program = `docker-credential-${helper}`;
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  const child = spawn(program, [verb], { stdio: ["pipe", "pipe", "ignore"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
  });
  child.once("error", (error) =>
    reject(cliErrors.FILE_UNREADABLE({ path: program, reason: messageOf(error) }, { cause: error })),
  );
  child.once("close", (code) => resolve(code === 0 ? output : undefined));
  child.stdin.end(input);
  return await promise;
}

function encodeHeader(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

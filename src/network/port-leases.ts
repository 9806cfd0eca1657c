/**
 * Host ports held by the engines of this host, as files in one shared directory (`/run/berth-ports`): published ports are
 * rules, not sockets, so nothing else would stop two engines from taking the same one. Gone with a reboot, as the rules are.
 *
 * A lease is the file `<dir>/<protocol>-<port>/<host ip>` with two lines: the engine's tag, and the path of the network
 * namespace that it is for. When that path is gone, its engine was purged without a word and the lease is stale.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../host/errors.ts";
import { mkdirSync, rmSync, rmdirSync, writeFileSync } from "../host/files.ts";
import type { PublishedPort } from "../schema/network.ts";

export type HostPort = Pick<PublishedPort, "protocol" | "hostIp" | "hostPort">;

export class PortLeases {
  readonly #directory: string;
  readonly #tag: string;

  constructor(directory: string, tag: string) {
    this.#directory = directory;
    this.#tag = tag;
  }

  /** Takes the port for this engine; false when another engine holds it. Taking one's own again is no error. */
  take(port: HostPort, netnsPath: string): boolean {
    const directory = this.#directoryOf(port);
    // Ours first, then a look at the others': of two engines at the same time at least one sees the other.
    writeInside(directory, `${port.hostIp}@${this.#tag}`, `${this.#tag}\n${netnsPath}\n`);
    if (!list(directory).some((name) => this.#blocks(directory, name, port))) return true;
    this.release(port);
    return false;
  }

  release(port: HostPort): void {
    const directory = this.#directoryOf(port);
    rmSync(join(directory, `${port.hostIp}@${this.#tag}`), { force: true });
    removeIfEmpty(directory);
  }

  /** Gives up every lease of this engine that is not for one of `keep`, and takes those of `keep` that are missing. */
  reconcile(keep: readonly { readonly port: HostPort; readonly netnsPath: string }[]): void {
    for (const { port, netnsPath } of keep) this.take(port, netnsPath);
    const kept = new Set(keep.map(({ port }) => join(this.#directoryOf(port), `${port.hostIp}@${this.#tag}`)));
    for (const directory of list(this.#directory).map((name) => join(this.#directory, name))) {
      for (const file of list(directory).map((name) => join(directory, name))) {
        if (file.endsWith(`@${this.#tag}`) && !kept.has(file)) rmSync(file, { force: true });
      }
      removeIfEmpty(directory);
    }
    removeIfEmpty(this.#directory);
  }

  #directoryOf(port: HostPort): string {
    return join(this.#directory, `${port.protocol}-${port.hostPort}`);
  }

  #blocks(directory: string, name: string, port: HostPort): boolean {
    const [hostIp = "", tag] = name.split("@");
    if (tag === this.#tag || !collide(hostIp, port.hostIp)) return false;
    const netnsPath = readOrEmpty(join(directory, name)).split("\n")[1] ?? "";
    if (existsSync(netnsPath)) return true;
    rmSync(join(directory, name), { force: true });
    return false;
  }
}

/** Whether two host addresses claim the same port: equal, or one of them every address of the family. */
export function collide(a: string, b: string): boolean {
  if (a.includes(":") !== b.includes(":")) return false;
  return a === b || a === "0.0.0.0" || b === "0.0.0.0" || a === "::" || b === "::";
}

/** More than any engine lets go of one port while another takes it. */
const mostTries = 10_000;

/** Another engine, which lets go of the same port, may remove the directory before there is anything in it. */
function writeInside(directory: string, name: string, text: string): void {
  for (let tries = 1; ; tries++) {
    try {
      mkdirSync(directory, { recursive: true, mode: 0o755 });
      writeFileSync(join(directory, name), text);
      return;
    } catch (error) {
      if (errnoOf(error) !== "ENOENT" || tries === mostTries) throw error;
    }
  }
}

/** Names in a directory; none when another engine has removed it, empty. */
function list(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Given up by its engine between the listing and this look.
    return "";
  }
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Still in use, or gone already.
  }
}

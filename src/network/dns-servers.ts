/**
 * The dnsmasq processes: one for each user-defined network with containers on it, one for each instance that needs a view
 * of its own (several networks, own servers), and one for each network that leases addresses to machines.
 *
 * INVARIANTS
 *  - A server outlives the engine; the next one finds it by the pid and start time in `<directory>/dnsmasq.json`, or, when the
 *    engine was killed before that was written, by its argument that names `<directory>/dnsmasq.conf`, which is written first.
 *  - A server that dies while an engine runs is started again.
 */
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { backoffDelay } from "../base/backoff.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { KeyedMutex } from "../base/keyed-mutex.ts";
import { background, type OpContext } from "../base/op-context.ts";
import type { Logger } from "../base/logger.ts";
import { mkdir, rename, rm, writeFile } from "../host/files.ts";
import type { ProcessIdentity, Processes } from "../host/host.ts";
import { type DhcpServerSpec, dhcpConfig } from "./dhcp-config.ts";
import { type DnsServerSpec, dnsmasqConfig } from "./dns-config.ts";
import { networkErrors } from "./errors.ts";

const SIGTERM = 15;
const SIGKILL = 9;
const restartPolicy = { initialMs: 100, maxMs: 10_000, factor: 2 };

type ServerSpec = DnsServerSpec | DhcpServerSpec;

interface Running {
  readonly config: string;
  readonly identity: ProcessIdentity;
  readonly watch: AbortController;
}

export class DnsServers {
  readonly #processes: Processes;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #locks = new KeyedMutex();
  readonly #running = new Map<string, Running>();

  constructor(options: { processes: Processes; log: Logger; clock?: Clock }) {
    this.#processes = options.processes;
    this.#log = options.log;
    this.#clock = options.clock ?? systemClock;
  }

  /** Whether `spec` is served by a live process that this object watches. No I/O but a look at the process. */
  isUp(id: string): boolean {
    const running = this.#running.get(id);
    return running !== undefined && this.#processes.isAlive(running.identity);
  }

  /** Makes `spec` be served: keeps, adopts, replaces or starts a process. Answers questions when it returns. `DNS_SERVER_FAILED`. */
  async ensure(ctx: OpContext, spec: ServerSpec): Promise<void> {
    using _held = await this.#locks.acquire(spec.id);
    const config = configOf(spec, await this.#unprivilegedUser(spec));
    const running = this.#running.get(spec.id);
    if (running !== undefined && running.config === config && this.#processes.isAlive(running.identity)) return;
    this.#forget(spec.id);
    const left = await readIdentity(spec.directory);
    const written = await readOrEmpty(configPath(spec.directory));
    if (left !== undefined && this.#processes.isAlive(left) && written === config) {
      this.#adopt(spec, config, left, 0);
      return;
    }
    if (written !== "") await this.#endLeft(spec.directory, left);
    this.#adopt(spec, config, await this.#start(ctx, spec, config), 0);
  }

  /** Ends the server and removes its files. Missing is no error. */
  async stop(id: string, directory: string): Promise<void> {
    using _held = await this.#locks.acquire(id);
    const identity = this.#running.get(id)?.identity ?? (await readIdentity(directory));
    this.#forget(id);
    if (identity !== undefined || (await readOrEmpty(configPath(directory))) !== "")
      await this.#endLeft(directory, identity);
    await rm(directory, { recursive: true, force: true });
  }

  /** Stops watching; the servers go on. */
  close(): void {
    for (const id of this.#running.keys()) this.#forget(id);
  }

  async #start(ctx: OpContext, spec: ServerSpec, config: string): Promise<ProcessIdentity> {
    const { directory } = spec;
    await mkdir(directory, { recursive: true, mode: 0o711 });
    // A note that is there names the only server there is: see #endLeft.
    await rm(identityPath(directory), { force: true });
    await writeReplacing(configPath(directory), config);
    await rm(join(directory, "dnsmasq.pid"), { force: true });
    // dnsmasq leaves for the background once it has bound its port and read its names: its first process's end is readiness.
    const command = ["dnsmasq", configArgument(directory)] as const;
    const argv = spec.netns === "" ? command : (["nsenter", `--net=${spec.netns}`, ...command] as const);
    let result = await this.#processes.run(ctx, { argv });
    // It lists the host's links and then asks about each: it ends when one of them, anybody's, goes meanwhile.
    for (let tries = 1; tries < 5 && result.stderr.includes("failed to find list of interfaces"); tries++) {
      result = await this.#processes.run(ctx, { argv });
    }
    const server = "kind" in spec ? "DHCP" : "DNS";
    const failed = (reason: string) => networkErrors.DNS_SERVER_FAILED({ server, network: spec.name, reason });
    if (result.code !== 0) throw failed(result.stderr.trim() || `exit code ${result.code}`);
    const pid = Number.parseInt(await readOrEmpty(join(directory, "dnsmasq.pid")), 10);
    const identity = Number.isInteger(pid) ? this.#processes.identify(pid) : undefined;
    if (identity === undefined) throw failed("it ended at once");
    await writeReplacing(identityPath(directory), JSON.stringify(identity));
    return identity;
  }

  #adopt(spec: ServerSpec, config: string, identity: ProcessIdentity, restarts: number): void {
    const watch = new AbortController();
    this.#running.set(spec.id, { config, identity, watch });
    void this.#watch(spec, config, identity, watch.signal, restarts);
  }

  /** Starts the server again when it dies by itself. Never throws. */
  async #watch(
    spec: ServerSpec,
    config: string,
    identity: ProcessIdentity,
    signal: AbortSignal,
    restarts: number,
  ): Promise<void> {
    const since = this.#clock.now();
    try {
      await this.#processes.waitGone(identity, signal);
    } catch (error) {
      if (!signal.aborted) this.#log.warn({ dns: spec.name, error: messageOf(error) }, "cannot watch a DNS server");
      return;
    }
    // One that ran for a minute has shown that it can: its delays begin anew.
    for (let attempt = this.#clock.now() - since > 60_000 ? 0 : restarts; !signal.aborted; attempt++) {
      this.#log.warn({ dns: spec.name, pid: identity.pid }, "a DNS server has died and is started again");
      try {
        await this.#clock.sleep(backoffDelay(restartPolicy, attempt), signal);
        using _held = await this.#locks.acquire(spec.id);
        if (signal.aborted) return;
        this.#adopt(spec, config, await this.#start(background(this.#log), spec, config), attempt + 1);
        return;
      } catch (error) {
        if (!signal.aborted)
          this.#log.error({ dns: spec.name, error: messageOf(error) }, "a DNS server does not start");
      }
    }
  }

  #forget(id: string): void {
    this.#running.get(id)?.watch.abort();
    this.#running.delete(id);
  }

  /** Ends a directory's server: the one noted, else whatever names its file, which may still be going into the background. */
  async #endLeft(directory: string, noted: ProcessIdentity | undefined): Promise<void> {
    if (noted !== undefined) return await this.#end(noted);
    for (;;) {
      const left = this.#processes.withArgument(configArgument(directory));
      if (left.length === 0) return;
      for (const identity of left) await this.#end(identity);
    }
  }

  async #end(identity: ProcessIdentity): Promise<void> {
    if (!this.#processes.signal(identity, SIGTERM)) return;
    const deadline = AbortSignal.timeout(2000);
    try {
      await this.#processes.waitGone(identity, deadline);
    } catch (error) {
      if (!deadline.aborted) throw error;
      this.#processes.signal(identity, SIGKILL);
      await this.#processes.waitGone(identity);
    }
  }

  /** The server must be able to read its names after it has given up root: only where everybody may enter the directories above. */
  async #unprivilegedUser(spec: ServerSpec): Promise<string> {
    for (const directory of spec.hostsDirectories) {
      if (!(await isOpenToAll(directory))) return "";
    }
    const users = (await readOrEmpty("/etc/passwd")).split("\n").map((line) => line.split(":")[0]);
    return ["dnsmasq", "nobody"].find((user) => users.includes(user)) ?? "";
  }
}

function configOf(spec: ServerSpec, user: string): string {
  return "kind" in spec ? dhcpConfig(spec, user) : dnsmasqConfig(spec, user);
}

async function isOpenToAll(directory: string): Promise<boolean> {
  for (let path = directory; ; path = dirname(path)) {
    const entered = await stat(path);
    if ((entered.mode & 0o001) === 0) return false;
    if (path === dirname(path)) return true;
  }
}

function configArgument(directory: string): string {
  return `--conf-file=${configPath(directory)}`;
}

function configPath(directory: string): string {
  return join(directory, "dnsmasq.conf");
}

function identityPath(directory: string): string {
  return join(directory, "dnsmasq.json");
}

async function readIdentity(directory: string): Promise<ProcessIdentity | undefined> {
  const text = await readOrEmpty(identityPath(directory));
  if (text === "") return undefined;
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null || !("pid" in value) || !("startTime" in value)) return undefined;
  return { pid: Number(value.pid), startTime: Number(value.startTime) };
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  }
}

async function writeReplacing(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o644 });
  await rename(`${path}.new`, path);
}

/** An engine whose failpoints can be armed while it runs, with a container on it that must never notice anything. */
import { randomInt } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pack } from "tar-stream";
import { BerthError } from "../../../src/base/errors.ts";
import { type CallOptions, readAll } from "../../../src/client/engine-client.ts";
import { busyboxArchive } from "../busybox-image.ts";
import { EngineProcess } from "../engine-process.ts";
import { freePort, type RegistryProcess, startRegistry } from "../registry.ts";

/** What of the engine a user can name: containers, networks, volumes and images, a line each. */
export type Inventory = readonly string[];

export interface ContainerView {
  readonly Id: string;
  readonly State: { readonly Status: string; readonly ExitCode: number; readonly Pid: number };
  readonly HostConfig: { readonly Memory: number };
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, unknown>> };
}

/** An effect that an operation had: the k-th of its name. */
export interface Hit {
  readonly point: string;
  readonly number: number;
  readonly detail: string;
}

export class World implements AsyncDisposable {
  readonly engine: EngineProcess;
  readonly image = "walk:1";
  readonly port: number;
  readonly registry: RegistryProcess;
  /** An image that nothing else shares a layer with, tagged op-image:1; and a second one of the same name. */
  readonly archives: readonly [Buffer, Buffer];
  readonly #directory: string;
  readonly #keeperPort: number;
  #keeperPid = 0;
  #traces = 0;

  private constructor(parts: {
    engine: EngineProcess;
    directory: string;
    registry: RegistryProcess;
    ports: readonly [number, number];
    archives: readonly [Buffer, Buffer];
  }) {
    this.engine = parts.engine;
    this.registry = parts.registry;
    this.#directory = parts.directory;
    [this.port, this.#keeperPort] = parts.ports;
    this.archives = parts.archives;
  }

  static async open(): Promise<World> {
    const directory = mkdtempSync(join(realpathSync(tmpdir()), "walk-"));
    writeFileSync(join(directory, "spec"), "");
    const registry = await startRegistry();
    const archives = await Promise.all(
      ["1", "2"].map((text) => busyboxArchive({ tags: ["op-image:1"], files: { "etc/unique": text } })),
    );
    const ports: [number, number] = [await freePort(), await freePort()];
    // Engines side by side must not choose the same subnet at the same time.
    const pool = `base=10.${randomInt(100, 250)}.0.0/16,size=24`;
    const kernel = process.env["BERTH_TEST_KERNEL_PACKAGE"] ?? "";
    const environment = { BERTH_FAILPOINTS: `@${join(directory, "spec")}`, BERTH_GUEST_KERNEL: kernel };
    const engine = await EngineProcess.start({ flags: ["--default-address-pool", pool], environment });
    const [first, second] = archives;
    if (first === undefined || second === undefined) throw new Error("no archives");
    const world = new World({ engine, directory, registry, ports, archives: [first, second] });
    await world.#settleIn();
    return world;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disarm();
    await this.engine.remove();
    await this.registry[Symbol.asyncDispose]();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async call<T = unknown>(method: string, path: string, options: CallOptions = {}): Promise<T> {
    using client = this.engine.client();
    const signal = AbortSignal.timeout(60_000);
    const answer = await client.stream(method, path, { signal, ...options });
    const text = await readAll(answer.body);
    try {
      return JSON.parse(text) as T;
    } catch {
      return text as T; // A stream of messages, or nothing.
    }
  }

  /** Undefined where the engine knows no such thing. */
  async find<T>(path: string): Promise<T | undefined> {
    try {
      return await this.call<T>("GET", path);
    } catch (error) {
      if (error instanceof BerthError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Arms these failpoints in the running engine, and begins a new trace. */
  async arm(spec: string): Promise<void> {
    this.armNextStart(spec);
    process.kill(this.engine.pid, "SIGUSR2");
    for (let tries = 0; !readFileSync(this.#trace, "utf8").startsWith("armed"); tries++) {
      if (tries > 2000) throw new Error("the engine does not arm its failpoints");
      await pause(2);
    }
  }

  /** Arms them in the engine that is started next. */
  armNextStart(spec: string): void {
    // A file of its own: what is still going on writes to the last one.
    this.#traces++;
    writeFileSync(this.#trace, "");
    writeFileSync(join(this.#directory, "spec"), `${spec};trace=${this.#trace}`);
  }

  /** From the next start on; {@link arm} with "" for the running engine. */
  disarm(): void {
    writeFileSync(join(this.#directory, "spec"), "");
  }

  /** Waits until the engine has been doing nothing for a while, or is dead. */
  async settle(): Promise<void> {
    let size = -1;
    for (let quietMs = 0; quietMs < 250; ) {
      if (!this.engine.alive) return;
      const now = statSync(this.#trace).size;
      quietMs = now === size ? quietMs + 10 : 0;
      size = now;
      await pause(10);
    }
  }

  /** What was done since the failpoints were armed. */
  hits(): readonly Hit[] {
    const counts = new Map<string, number>();
    const lines = readFileSync(this.#trace, "utf8").split("\n").slice(1, -1);
    return lines.map((line) => {
      const point = line.split(" ", 1)[0] ?? "";
      const number = (counts.get(point) ?? 0) + 1;
      counts.set(point, number);
      return { point, number, detail: line.slice(point.length + 1) };
    });
  }

  async inventory(): Promise<Inventory> {
    const containers = await this.call<readonly { Names: readonly string[] }[]>("GET", "/containers/json?all=true");
    const networks = await this.call<readonly { Name: string }[]>("GET", "/networks");
    const { Volumes } = await this.call<{ Volumes: readonly { Name: string }[] }>("GET", "/volumes");
    const images = await this.call<readonly { Id: string; RepoTags: readonly string[] }[]>("GET", "/images/json");
    return [
      ...containers.map(({ Names }) => `container ${Names.join()}`),
      ...networks.map(({ Name }) => `network ${Name}`),
      ...Volumes.map(({ Name }) => `volume ${Name}`),
      ...images.map(({ Id, RepoTags }) => `image ${RepoTags.length === 0 ? Id : RepoTags.join()}`),
    ].sort();
  }

  /** Removes everything that operations make: what is called "op…". */
  async tidy(): Promise<void> {
    for (const line of await this.inventory()) {
      const [kind = "", name = ""] = line.split(" ");
      if (kind === "container" && name.startsWith("/op")) {
        await this.call("DELETE", `/containers${name}`, { query: { force: true, v: true } });
      }
    }
    for (const line of await this.inventory()) {
      const [kind = "", names = ""] = line.split(" ");
      for (const name of names.split(",")) {
        if (!/(^|\/)op-/.test(name)) continue;
        await this.call("DELETE", `/${kind}s/${name}`, { query: kind === "network" ? {} : { force: true } });
      }
    }
  }

  /** One line for each thing that the container, its network, port and volume, made before everything, lost. */
  async keeperFaults(): Promise<readonly string[]> {
    const faults: string[] = [];
    const keeper = await this.find<ContainerView>("/containers/keeper/json");
    if (keeper?.State.Pid !== this.#keeperPid) faults.push(`the container that ran before is ${keeper?.State.Status}`);
    if (!(await answers(this.#keeperPort))) faults.push("the port that was published before does not answer");
    const volume = await this.find<{ Mountpoint: string }>("/volumes/keep-volume");
    if (volume === undefined || !readdirSync(volume.Mountpoint).includes("kept"))
      faults.push("a volume lost its files");
    return faults;
  }

  get #trace(): string {
    return join(this.#directory, `trace-${this.#traces}`);
  }

  async #settleIn(): Promise<void> {
    await this.load(await busyboxArchive({ tags: [this.image, `${this.registry.host}/op-pulled:1`] }));
    await this.call("POST", `/images/${this.registry.host}/op-pulled/push`, {
      query: { tag: "1" },
      headers: { "X-Registry-Auth": Buffer.from("{}").toString("base64") },
    });
    await this.call("POST", "/networks/create", { body: { Name: "keep-network" } });
    await this.call("POST", "/containers/create", {
      query: { name: "keeper" },
      body: webServer(this.image, {
        port: this.#keeperPort,
        network: "keep-network",
        binds: ["keep-volume:/kept-here"],
      }),
    });
    await this.call("POST", "/containers/keeper/start");
    const { Mountpoint } = await this.call<{ Mountpoint: string }>("GET", "/volumes/keep-volume");
    writeFileSync(join(Mountpoint, "kept"), "");
    this.#keeperPid = (await this.find<ContainerView>("/containers/keeper/json"))?.State.Pid ?? 0;
    await this.tidy();
  }

  async load(archive: Buffer): Promise<void> {
    await this.call("POST", "/images/load", { body: Readable.from([archive]) });
  }
}

/** The body of a container that serves /etc on port 80. */
export function webServer(
  image: string,
  uses: {
    readonly port?: number;
    readonly network?: string;
    readonly binds?: readonly string[];
    readonly volumes?: object;
  },
): Readonly<Record<string, unknown>> {
  const bindings = { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: String(uses.port) }] };
  return {
    Image: image,
    Cmd: ["httpd", "-f", "-p", "80", "-h", "/etc"],
    StopSignal: "SIGKILL",
    ExposedPorts: { "80/tcp": {} },
    Volumes: uses.volumes ?? {},
    HostConfig: {
      ...(uses.port === undefined ? {} : { PortBindings: bindings }),
      NetworkMode: uses.network ?? "bridge",
      Binds: uses.binds ?? [],
    },
  };
}

export async function answers(port: number): Promise<boolean> {
  for (let tries = 0; tries < 20; tries++) {
    try {
      if ((await fetch(`http://127.0.0.1:${port}/passwd`, { signal: AbortSignal.timeout(2000) })).ok) return true;
    } catch {
      // Not yet: the server inside has just been started.
    }
    await pause(50);
  }
  return false;
}

export function tarOf(files: Readonly<Record<string, string>>): Readable {
  const archive = pack();
  for (const [name, text] of Object.entries(files)) archive.entry({ name }, text);
  archive.finalize();
  return Readable.from(archive);
}

export async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

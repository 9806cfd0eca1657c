/**
 * Clients that use an engine at random until it dies, and remember what it acknowledged. Each has names and ports of its own,
 * so that what one does never explains what another sees.
 */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pack } from "tar-stream";
import { BerthError } from "../../src/base/errors.ts";
import { type EngineClient, readAll } from "../../src/client/engine-client.ts";
import { busyboxArchive } from "./busybox-image.ts";
import type { EngineProcess } from "./engine-process.ts";

/** What is known of a thing by the answers so far; "doubt" while an answer is awaited, and for good when it never came. */
type Fact = "absent" | "created" | "running" | "stopped" | "present" | "doubt";

interface ContainerView {
  readonly Id: string;
  readonly State: { readonly Status: string; readonly ExitCode: number };
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class KillModelClient {
  /** Answers that no engine should give. */
  readonly complaints: string[] = [];
  /** Requests that were answered. */
  answered = 0;
  readonly #engine: EngineProcess;
  readonly #name: string;
  readonly #port: number;
  readonly #image: string;
  readonly #random: () => number;
  readonly #facts = new Map<string, Fact>();
  #client: EngineClient | undefined;
  #last = "";

  constructor(options: { engine: EngineProcess; index: number; image: string; seed: number; firstPort: number }) {
    this.#engine = options.engine;
    this.#name = `kill${options.index}`;
    this.#port = options.firstPort + options.index;
    this.#image = options.image;
    this.#random = seededRandom(options.seed * 31 + options.index);
  }

  /** Does one thing after another until the engine is gone. */
  async run(): Promise<void> {
    using client = this.#engine.client();
    this.#client = client;
    for (;;) {
      try {
        await this.#step();
      } catch (error) {
        if (error instanceof BerthError && error.code !== "ENGINE_UNREACHABLE") {
          this.complaints.push(`${this.#last}: ${error.status} ${error.message}`);
        } else if (isDisconnect(error)) return;
        else throw error;
      }
    }
  }

  /** Compares what was acknowledged with what the engine knows after it was killed, and settles what was in doubt. */
  async verify(): Promise<void> {
    using client = this.#engine.client();
    this.#client = client;
    for (const [key, fact] of this.#facts) {
      const [kind = "", name = ""] = key.split(" ");
      this.#last = `after the kill: ${key} was ${fact}`;
      const found = await this.#look(kind, name);
      if (!agree(fact, found)) this.complaints.push(`${this.#last}, is ${found}`);
      if (fact === "running" && found === "running" && name.endsWith("-web")) await this.#visit();
      if (kind === "image" && fact === "present" && found === "present") await this.#useImage(name);
      this.#facts.set(key, found);
    }
  }

  async #step(): Promise<void> {
    const steps = [
      () => this.#container(`${this.#name}-web`, { port: true }),
      () => this.#container(`${this.#name}-web`, { port: true }),
      () => this.#container(`${this.#name}-net`, { network: true }),
      () => this.#container(`${this.#name}-vol`, { volume: true }),
      () => this.#short(),
      () => this.#toggleNetwork(),
      () => this.#toggleVolume(),
      () => this.#toggleImage(),
      () => this.#build(),
      () => this.#prune(),
    ];
    await this.#pick(steps)();
  }

  async #container(name: string, uses: { port?: boolean; network?: boolean; volume?: boolean }): Promise<void> {
    const key = `container ${name}`;
    const path = `/containers/${name}`;
    switch (this.#facts.get(key) ?? "absent") {
      case "absent":
        await this.#become(key, "created", () => this.#create(name, uses));
        if (this.#random() < 0.8) await this.#become(key, "running", () => this.#call("POST", `${path}/start`));
        return;
      case "created":
      case "stopped":
        return await this.#pick([
          () => this.#become(key, "running", () => this.#call("POST", `${path}/start`)),
          () => this.#become(key, "absent", () => this.#call("DELETE", path, { query: { v: true } })),
          () => this.#commit(name),
        ])();
      case "running":
        return await this.#pick([
          () => this.#exec(name),
          () => this.#become(key, "stopped", () => this.#call("POST", `${path}/stop`, { query: { t: 1 } })),
          () => this.#become(key, "running", () => this.#call("POST", `${path}/restart`, { query: { t: 1 } })),
          () => this.#become(key, "absent", () => this.#call("DELETE", path, { query: { v: true, force: true } })),
          () => this.#pause(key, path),
        ])();
      default:
        return;
    }
  }

  async #create(name: string, uses: { port?: boolean; network?: boolean; volume?: boolean }): Promise<void> {
    const network = this.#facts.get(`network ${this.#name}-n`) === "present" ? `${this.#name}-n` : "bridge";
    const volume = this.#facts.get(`volume ${this.#name}-v`) === "present" ? [`${this.#name}-v:/named`] : [];
    await this.#call("POST", "/containers/create", {
      query: { name },
      body: {
        Image: this.#image,
        Cmd: ["httpd", "-f", "-p", "80", "-h", "/etc"],
        StopSignal: "SIGKILL",
        ExposedPorts: { "80/tcp": {} },
        ...(uses.volume ? { Volumes: { "/anonymous": {} } } : {}),
        HostConfig: {
          ...(uses.port ? { PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: String(this.#port) }] } } : {}),
          ...(uses.network ? { NetworkMode: network } : {}),
          ...(uses.volume ? { Binds: volume } : {}),
        },
      },
    });
  }

  /** `docker run --rm`, whose end is not waited for. */
  async #short(): Promise<void> {
    const { Id } = await this.#call<{ Id: string }>("POST", "/containers/create", {
      body: { Image: this.#image, Cmd: ["sleep", "0.2"], HostConfig: { AutoRemove: true }, Volumes: { "/gone": {} } },
    });
    await this.#call("POST", `/containers/${Id}/start`);
  }

  async #exec(name: string): Promise<void> {
    const { Id } = await this.#call<{ Id: string }>("POST", `/containers/${name}/exec`, {
      body: { Cmd: ["sleep", "0.1"], AttachStdout: true },
    });
    await this.#call("POST", `/exec/${Id}/start`, { body: { Detach: this.#random() < 0.5 } });
  }

  async #pause(key: string, path: string): Promise<void> {
    this.#facts.set(key, "doubt");
    await this.#call("POST", `${path}/pause`);
    await this.#call("POST", `${path}/unpause`);
    this.#facts.set(key, "running");
  }

  async #commit(name: string): Promise<void> {
    const repo = `${this.#name}-committed`;
    await this.#become(`image ${repo}:1`, "present", () =>
      this.#call("POST", "/commit", { query: { container: name, repo, tag: "1" } }),
    );
  }

  async #toggleNetwork(): Promise<void> {
    const name = `${this.#name}-n`;
    if (this.#facts.get(`network ${name}`) === "present") {
      // Refused while a container is on it.
      const inUse = this.#facts.get(`container ${this.#name}-net`) !== "absent";
      if (inUse) return;
      await this.#become(`network ${name}`, "absent", () => this.#call("DELETE", `/networks/${name}`));
    } else {
      await this.#become(`network ${name}`, "present", () =>
        this.#call("POST", "/networks/create", { body: { Name: name } }),
      );
    }
  }

  async #toggleVolume(): Promise<void> {
    const name = `${this.#name}-v`;
    if (this.#facts.get(`volume ${name}`) === "present") {
      if ((this.#facts.get(`container ${this.#name}-vol`) ?? "absent") !== "absent") return;
      await this.#become(`volume ${name}`, "absent", () => this.#call("DELETE", `/volumes/${name}`));
    } else {
      await this.#become(`volume ${name}`, "present", async () => {
        const { Mountpoint } = await this.#call<{ Mountpoint: string }>("POST", "/volumes/create", {
          body: { Name: name },
        });
        const files = readdirSync(Mountpoint);
        if (files.length > 0)
          this.complaints.push(`the new volume ${name} has the files of an old one: ${files.join(" ")}`);
        writeFileSync(join(Mountpoint, "mark"), "");
      });
    }
  }

  async #toggleImage(): Promise<void> {
    const reference = `${this.#name}-loaded:1`;
    if (this.#facts.get(`image ${reference}`) === "present") {
      await this.#become(`image ${reference}`, "absent", () => this.#call("DELETE", `/images/${reference}`));
    } else {
      const archive = await busyboxArchive({ tags: [reference], files: { "etc/unique": `${this.#random()}` } });
      await this.#become(`image ${reference}`, "present", () =>
        this.#call("POST", "/images/load", { body: Readable.from([archive]) }),
      );
    }
  }

  async #build(): Promise<void> {
    const reference = `${this.#name}-built:1`;
    const context = pack();
    const dockerfile = `FROM ${this.#image}\nRUN echo ${this.#random()} > /one && sleep 0.1\nCOPY Dockerfile /two\nVOLUME /data\n`;
    context.entry({ name: "Dockerfile" }, dockerfile);
    context.finalize();
    await this.#become(`image ${reference}`, "present", async () => {
      const output = await this.#call("POST", "/build", {
        query: { t: reference, rm: true },
        body: Readable.from(context),
      });
      if (!String(output).includes("Successfully built")) this.complaints.push(`a build failed: ${String(output)}`);
    });
  }

  async #prune(): Promise<void> {
    await this.#call("POST", "/images/prune", { query: { filters: JSON.stringify({ dangling: ["true"] }) } });
  }

  async #useImage(reference: string): Promise<void> {
    const { Id } = await this.#call<{ Id: string }>("POST", "/containers/create", {
      body: { Image: reference, Cmd: ["true"], Entrypoint: [] },
    });
    await this.#call("POST", `/containers/${Id}/start`);
    const { StatusCode } = await this.#call<{ StatusCode: number }>("POST", `/containers/${Id}/wait`);
    if (StatusCode !== 0) this.complaints.push(`${reference} does not run: ${StatusCode}`);
    await this.#call("DELETE", `/containers/${Id}`, { query: { v: true } });
  }

  async #visit(): Promise<void> {
    const url = `http://127.0.0.1:${this.#port}/passwd`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(3000) }).catch((error: unknown) => String(error));
    if (typeof answer === "string" || !answer.ok) this.complaints.push(`${this.#last}: ${url} does not answer`);
  }

  async #look(kind: string, name: string): Promise<Fact> {
    const path =
      kind === "container" ? `/containers/${name}/json` : `/${kind}s/${name}${kind === "image" ? "/json" : ""}`;
    try {
      const found = await this.#call<ContainerView>("GET", path);
      if (kind !== "container") return "present";
      if (found.State.Status === "paused") {
        await this.#call("POST", `/containers/${name}/unpause`);
        return "running";
      }
      return found.State.Status === "exited" ? "stopped" : found.State.Status === "created" ? "created" : "running";
    } catch (error) {
      if (error instanceof BerthError && error.status === 404) return "absent";
      throw error;
    }
  }

  /** Notes what `key` is once the engine has answered `work`. */
  async #become(key: string, fact: Fact, work: () => Promise<unknown>): Promise<void> {
    this.#facts.set(key, "doubt");
    await work();
    this.#facts.set(key, fact);
  }

  async #call<T>(
    method: string,
    path: string,
    options: { query?: Record<string, string | number | boolean>; body?: unknown } = {},
  ): Promise<T> {
    this.#last = `${method} ${path}`;
    if (this.#client === undefined) throw new Error("no client");
    const answer = await this.#client.stream(method, path, options);
    const text = await readAll(answer.body);
    this.answered++;
    try {
      return JSON.parse(text) as T;
    } catch {
      return text as T; // A stream of messages, or nothing.
    }
  }

  #pick<T>(choices: readonly T[]): T {
    const choice = choices[Math.floor(this.#random() * choices.length)];
    if (choice === undefined) throw new Error("nothing to choose from");
    return choice;
  }
}

function isDisconnect(error: unknown): boolean {
  if (error instanceof BerthError) return error.code === "ENGINE_UNREACHABLE";
  return error instanceof Error && "code" in error && error.code === "ECONNRESET";
}

function agree(fact: Fact, found: Fact): boolean {
  return fact === "doubt" || fact === found;
}

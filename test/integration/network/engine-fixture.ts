/** A network service on the real kernel, and namespaces that play containers. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { newId } from "../../../src/base/ids.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { background } from "../../../src/base/op-context.ts";
import type { Host } from "../../../src/host/host.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";
import { createNetworkService, type EngineNetworks } from "../../../src/network/engine-networks.ts";
import type { NetworkConfig } from "../../../src/network/network-definition.ts";
import type { SandboxRecord, SandboxRequest } from "../../../src/network/network-service.ts";
import type { EngineEvent } from "../../../src/schema/event.ts";
import type { EndpointSpec, NetworkSpec, PortSpec } from "../../../src/schema/network.ts";
import { EventBus } from "../../../src/state/events.ts";
import { MemoryStore } from "../../../src/state/fake/memory-store.ts";

export const ctx = background();
const run = promisify(execFile);

export const networkConfig: NetworkConfig = {
  bip: "",
  bridge: "",
  mtu: 0,
  // Away from what Docker and other engines under test take.
  addressPools: [{ base: "10.213.0.0/16", size: 24 }],
  dns: [],
  dnsSearch: [],
};

export class TestEngine implements AsyncDisposable {
  readonly tag: string;
  readonly runRoot = mkdtempSync(join(tmpdir(), "berth-net-"));
  readonly events: EngineEvent[] = [];
  readonly #host: Host;
  readonly #config: NetworkConfig;
  readonly #store = new MemoryStore();
  readonly #leases: string;
  readonly #ownLeases: boolean;
  #containers: TestContainer[] = [];
  networks: EngineNetworks;

  private constructor(host: Host, config: NetworkConfig, leases: string | undefined) {
    this.tag = createHash("sha256").update(this.runRoot).digest("hex").slice(0, 6);
    this.#host = host;
    this.#config = config;
    this.#ownLeases = leases === undefined;
    this.#leases = leases ?? mkdtempSync(join(tmpdir(), "berth-leases-"));
    chmodSync(this.runRoot, 0o711);
    this.networks = this.#open();
  }

  static async start(options: { config?: Partial<NetworkConfig>; leases?: string } = {}): Promise<TestEngine> {
    const host = await createLinuxHost({ log: silentLogger });
    const engine = new TestEngine(host, { ...networkConfig, ...options.config }, options.leases);
    await engine.networks.recover(ctx, []);
    return engine;
  }

  get host(): Host {
    return this.#host;
  }

  /** What a killed engine and its successor do: nothing is taken down, a new service finds what runs. */
  async restart(): Promise<void> {
    this.networks.close();
    this.networks = this.#open();
    await this.networks.recover(
      ctx,
      this.#containers.map(({ sandbox }) => sandbox),
    );
  }

  async create(name: string, spec: Partial<NetworkSpec> = {}): Promise<string> {
    const { network } = await this.networks.create(ctx, { ...bridgeSpec(name), ...spec });
    return network.id;
  }

  async container(name: string, options: Partial<SandboxRequest> & { on?: string } = {}): Promise<TestContainer> {
    const { on = "bridge", ...rest } = options;
    const sandbox = await this.networks.setUp(ctx, sandboxRequest(name, { endpoints: { [on]: endpoint() }, ...rest }));
    const container = new TestContainer(this, sandbox);
    this.#containers.push(container);
    return container;
  }

  async stop(container: TestContainer): Promise<void> {
    container.kill();
    this.#containers = this.#containers.filter((other) => other !== container);
    await this.networks.tearDown(ctx, container.sandbox.instanceId);
  }

  /** Pid of the server that leases addresses on this network. */
  dhcpServer(network: string): number | undefined {
    const { id } = this.networks.resolve(network);
    const file = join(this.runRoot, "networks", id, "dhcp", "dnsmasq.pid");
    return existsSync(file) ? Number(readFileSync(file, "utf8")) : undefined;
  }

  /** Their processes died with the engine, as at a reboot. */
  forgetContainers(): void {
    for (const container of this.#containers) container.kill();
    this.#containers = [];
  }

  /** Everything of this engine that is on the host now. */
  async leftovers(): Promise<readonly string[]> {
    const links = (await this.#host.kernel.links()).map(({ name }) => name);
    const { stdout: tables } = await run("nft", ["list", "tables", "inet"]);
    const { stdout: iptables } = await run("iptables", ["-w", "-S"]);
    return [
      ...links.filter((name) => name === `brt${this.tag}` || /^brt-|^vb/.test(name)).filter((n) => this.#made.has(n)),
      ...tables.split("\n").filter((line) => line.includes(`berth_${this.tag}`)),
      ...iptables.split("\n").filter((line) => line.includes(`berth-${this.tag}`)),
      ...(existsSync(join(this.runRoot, "netns")) ? readdirSync(join(this.runRoot, "netns")) : []),
      ...(await dnsmasqsUnder(this.runRoot)),
      ...(existsSync(this.#leases) ? readdirSync(this.#leases, { recursive: true, encoding: "utf8" }) : []).filter(
        (name) => name.endsWith(`@${this.tag}`),
      ),
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const container of this.#containers) container.kill();
    await this.networks.removeAll(ctx);
    this.networks.close();
    // The kernel takes the interfaces of an unpinned namespace down a little later.
    for (let i = 0; i < 50 && (await this.leftovers()).length > 0; i++) await delay(20);
    const left = await this.leftovers();
    await this.#host.close();
    rmSync(this.runRoot, { recursive: true, force: true });
    if (this.#ownLeases) rmSync(this.#leases, { recursive: true, force: true });
    if (left.length > 0) throw new Error(`left on the host: ${left.join(", ")}`);
  }

  readonly #made = new Set<string>();

  note(sandbox: SandboxRecord): void {
    for (const { hostInterface, networkId } of sandbox.endpoints) {
      this.#made.add(hostInterface);
      this.#made.add(this.networks.resolve(networkId).bridge);
    }
  }

  #open(): EngineNetworks {
    const events = new EventBus();
    events.subscribe((event) => this.events.push(event));
    return createNetworkService({
      store: this.#store,
      host: this.#host,
      events,
      config: this.#config,
      tag: this.tag,
      runRoot: this.runRoot,
      log: silentLogger,
      portLeases: this.#leases,
    });
  }
}

/** A sandbox with programs in it, under the files that a container would have. */
export class TestContainer {
  sandbox: SandboxRecord;
  readonly #engine: TestEngine;
  readonly #children: ChildProcess[] = [];

  constructor(engine: TestEngine, sandbox: SandboxRecord) {
    this.#engine = engine;
    this.sandbox = sandbox;
    engine.note(sandbox);
  }

  /** Its first (or only) IPv4 address. */
  get ip(): string {
    return this.sandbox.endpoints[0]?.ipv4Cidr.split("/")[0] ?? "";
  }

  /** Runs a program inside to its end; its standard output, trimmed. */
  async exec(...argv: readonly string[]): Promise<string> {
    const { stdout } = await run("nsenter", this.#enter(argv), { timeout: 20_000 });
    return stdout.trim();
  }

  /** Whether a program succeeds inside. */
  async succeeds(...argv: readonly string[]): Promise<boolean> {
    try {
      await this.exec(...argv);
      return true;
    } catch {
      return false;
    }
  }

  /** Body of a page, or "" when there is none within two seconds. */
  async get(url: string): Promise<string> {
    try {
      return await this.exec("curl", "-gs", "--max-time", "2", url);
    } catch {
      return "";
    }
  }

  /** Serves `body` on a TCP port, from now on. */
  async serve(port: number, body: string): Promise<void> {
    await this.#start(
      `require("http").createServer((q, s) => s.end(${JSON.stringify(body)} + (q.url === "/peer" ? " " + q.socket.remoteAddress : "")))
        .listen(${port}, "::", () => console.log("ready"))`,
    );
  }

  /** Answers every datagram with `body`. */
  async serveUdp(port: number, body: string): Promise<void> {
    await this.#start(
      `const s = require("dgram").createSocket("udp4"); s.on("message", (m, r) => s.send(${JSON.stringify(body)}, r.port, r.address));
       s.bind(${port}, () => console.log("ready"))`,
    );
  }

  kill(): void {
    for (const child of this.#children) child.kill("SIGKILL");
  }

  async connect(network: string, spec: Partial<EndpointSpec> = {}): Promise<void> {
    this.sandbox = await this.#engine.networks.connect(ctx, this.sandbox.instanceId, network, {
      ...endpoint(),
      ...spec,
    });
    this.#engine.note(this.sandbox);
  }

  async disconnect(network: string): Promise<void> {
    this.sandbox = await this.#engine.networks.disconnect(ctx, this.sandbox.instanceId, network);
  }

  async #start(script: string): Promise<void> {
    const child = spawn("nsenter", this.#enter([process.execPath, "-e", script]), {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#children.push(child);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    child.stdout.once("data", () => resolve());
    child.once("exit", () => reject(new Error("the server ended")));
    await promise;
  }

  #enter(argv: readonly string[]): string[] {
    const { netnsPath, resolvConfPath, hostsPath } = this.sandbox;
    const binds = `mount --bind ${resolvConfPath} /etc/resolv.conf && mount --bind ${hostsPath} /etc/hosts && exec "$@"`;
    return [`--net=${netnsPath}`, "unshare", "--mount", "--propagation=private", "sh", "-c", binds, "sh", ...argv];
  }
}

export function endpoint(spec: Partial<EndpointSpec> = {}): EndpointSpec {
  return { aliases: [], ...spec };
}

export function port(containerPort: number, hostPort: number, more: Partial<PortSpec> = {}): PortSpec {
  return { containerPort, hostPort, protocol: "tcp", hostIp: "", ...more };
}

export function sandboxRequest(name: string, more: Partial<SandboxRequest> = {}): SandboxRequest {
  const instanceId = newId();
  return {
    instanceId,
    instanceName: name,
    mode: "bridge",
    hostname: instanceId.slice(0, 12),
    domainname: "",
    endpoints: {},
    ports: [],
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts: [],
    sysctls: {},
    ...more,
  };
}

export function bridgeSpec(name: string): NetworkSpec {
  return {
    name,
    driver: "bridge",
    internal: false,
    attachable: false,
    enableIPv6: false,
    ipam: [],
    options: {},
    labels: {},
  };
}

/** Body of a page as the host sees it, or "". */
export async function get(url: string): Promise<string> {
  try {
    const { stdout } = await run("curl", ["-gs", "--max-time", "2", url]);
    return stdout;
  } catch {
    return "";
  }
}

async function dnsmasqsUnder(directory: string): Promise<readonly string[]> {
  const { stdout } = await run("ps", ["-eo", "stat,args"]);
  return stdout
    .split("\n")
    .filter((line) => !line.startsWith("Z") && line.includes("dnsmasq") && line.includes(directory));
}

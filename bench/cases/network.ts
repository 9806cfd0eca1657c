/** Latency to and between containers: one connection, 64 bytes there and back, against an echo server in a container. */
import { execFile } from "node:child_process";
import { networkInterfaces } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { BenchCase } from "../case.ts";
import { createContainer, killAtStop, sleeper, startContainer } from "../containers.ts";
import { type MeasuredEngine, smallImage } from "../measured-engine.ts";
import type { Metric } from "../metric.ts";

const latency = (id: string, label: string): Metric => ({ id, label, unit: "µs", better: "less" });
const byHostAddress: Metric = {
  ...latency("port.host", "published port, by the host's address, p50"),
  target: { kind: "ratio", peer: "docker", bound: 1.1 },
};
const byLoopback = latency("port.loopback", "published port, by 127.0.0.1, p50");
const between = latency("link", "container to container, p50");

interface Stage {
  readonly port: number;
  readonly serverAddress: string;
  /** Whose network namespace the asking program joins. */
  readonly clientPid: number;
}

const stages = new Map<string, Stage>();
const echoPort = 7000;
const echoServer: readonly string[] = ["nc", "-ll", "-p", String(echoPort), "-e", "cat"];

export const network: BenchCase = {
  name: "net",
  about: "latency of a published port, and between two containers",
  async prepare(engine) {
    const server = engine.nextName();
    await engine.docker(
      "run",
      "-d",
      "--name",
      server,
      ...killAtStop,
      "-p",
      String(echoPort),
      smallImage,
      ...echoServer,
    );
    const client = await createContainer(engine, { command: sleeper });
    await startContainer(engine, client);
    const { NetworkSettings } = await inspect(engine, server);
    const published = NetworkSettings.Ports[`${echoPort}/tcp`]?.[0]?.HostPort;
    const [address] = Object.values(NetworkSettings.Networks);
    stages.set(engine.prefix, {
      port: Number(published),
      serverAddress: address?.IPAddress ?? "",
      clientPid: (await inspect(engine, client)).State.Pid,
    });
    await sleep(500); // Until the server listens.
    return undefined;
  },
  async turn({ engine, record }) {
    const stage = stages.get(engine.prefix);
    if (stage === undefined) return;
    const { port, serverAddress, clientPid } = stage;
    record(byHostAddress, await ask(hostAddress(), port));
    record(byLoopback, await ask("127.0.0.1", port));
    record(between, await ask(serverAddress, echoPort, "nsenter", "--target", String(clientPid), "--net"));
  },
};

interface Inspected {
  readonly State: { readonly Pid: number };
  readonly NetworkSettings: {
    readonly Ports: Readonly<Record<string, readonly { readonly HostPort: string }[] | null | undefined>>;
    readonly Networks: Readonly<Record<string, { readonly IPAddress: string }>>;
  };
}

async function inspect(engine: MeasuredEngine, name: string): Promise<Inspected> {
  return await engine.api.call<Inspected>("GET", `/containers/${name}/json`);
}

/** The median in microseconds. The asking program is another process: this one has more to do. */
async function ask(host: string, port: number, ...wrapper: readonly string[]): Promise<number> {
  const program = new URL("../echo-latency.ts", import.meta.url).pathname;
  const [command, ...words] = [...wrapper, process.execPath, program, host, String(port), "5000"];
  const { stdout } = await promisify(execFile)(command, words);
  const median = Number(stdout);
  if (stdout.trim() === "" || !Number.isFinite(median))
    throw new Error(`the echo server at port ${port} does not answer`);
  return median;
}

/** The first address of the host's that is no loopback and no bridge of an engine. */
function hostAddress(): string {
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    if (/^(lo$|brt|docker|podman|br-|veth|virbr)/.test(name)) continue;
    const found = addresses?.find(({ family, internal }) => family === "IPv4" && !internal);
    if (found !== undefined) return found.address;
  }
  throw new Error("this host has no address to ask a published port by");
}

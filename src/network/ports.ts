/** Which instance holds which host port. All or nothing for each instance; a port is reserved before the first wait, so no two set-ups race. */
import type { PortSpec, PublishedPort } from "../schema/network.ts";
import type { BindTest } from "./bind-test.ts";
import { networkErrors } from "./errors.ts";
import { collide, type HostPort, type PortLeases } from "./port-leases.ts";

export interface PortRequest {
  readonly instanceId: string;
  readonly instanceName: string;
  readonly endpointId: string;
  readonly netnsPath: string;
  readonly specs: readonly PortSpec[];
  /** Address that a port without one is bound to: "0.0.0.0" unless the network says otherwise. */
  readonly defaultHostIp: string;
  /** The container's addresses, for error texts and to know whether IPv6 can be published; "" is none. */
  readonly ipv4: string;
  readonly ipv6: string;
}

/** Inclusive. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

interface Holder {
  readonly instanceId: string;
  readonly instanceName: string;
  readonly hostIp: string;
}

export class PortAllocator {
  readonly #leases: PortLeases;
  readonly #bindTest: BindTest;
  readonly #ephemeral: () => Promise<PortRange>;
  /** By "tcp-80". */
  readonly #holders = new Map<string, Holder[]>();
  /** Where the search for a random port goes on, so that a freed one is not taken again at once. */
  #nextRandom = 0;

  constructor(options: { leases: PortLeases; bindTest: BindTest; ephemeral: () => Promise<PortRange> }) {
    this.#leases = options.leases;
    this.#bindTest = options.bindTest;
    this.#ephemeral = options.ephemeral;
  }

  /** `PORT_IN_USE`, `PORT_BIND_FAILED`, `PORTS_EXHAUSTED`; then none is held. */
  async allocate(request: PortRequest): Promise<readonly PublishedPort[]> {
    const published: PublishedPort[] = [];
    try {
      // Fixed ports first: a random one must not take what a later line asks for.
      const order = [...request.specs].sort((a, b) => Number(a.hostPort === 0) - Number(b.hostPort === 0));
      for (const spec of order) published.push(...(await this.#allocateOne(request, spec)));
      return published;
    } catch (error) {
      this.release(request.instanceId, published);
      throw error;
    }
  }

  release(instanceId: string, ports: readonly PublishedPort[]): void {
    for (const port of ports) this.#drop(instanceId, port);
  }

  /** Takes note of ports that are published already (recovery). */
  adopt(instanceId: string, instanceName: string, ports: readonly PublishedPort[]): void {
    for (const port of ports) this.#hold(port, { instanceId, instanceName, hostIp: port.hostIp });
  }

  async #allocateOne(request: PortRequest, spec: PortSpec): Promise<readonly PublishedPort[]> {
    const addresses = hostAddresses(request, spec);
    const at = (hostPort: number): readonly PublishedPort[] =>
      addresses.map((hostIp) => ({ containerPort: spec.containerPort, protocol: spec.protocol, hostIp, hostPort }));
    if (request.ipv6 === "" && addresses.some((hostIp) => hostIp.includes(":"))) {
      const refused = {
        containerPort: spec.containerPort,
        protocol: spec.protocol,
        hostIp: spec.hostIp || request.defaultHostIp,
      };
      throw failed(request, { ...refused, hostPort: spec.hostPort }, "the container has no IPv6 address");
    }
    if (spec.hostPort !== 0 && (spec.hostPortEnd ?? spec.hostPort) <= spec.hostPort) {
      const ports = at(spec.hostPort);
      const problem = await this.#takeAll(request, ports);
      if (problem !== undefined) throw problem;
      return ports;
    }
    return this.#firstFree(request, at, spec);
  }

  async #firstFree(
    request: PortRequest,
    at: (hostPort: number) => readonly PublishedPort[],
    spec: PortSpec,
  ): Promise<readonly PublishedPort[]> {
    const random = spec.hostPort === 0;
    const range = random ? await this.#ephemeral() : { first: spec.hostPort, last: spec.hostPortEnd ?? spec.hostPort };
    const size = range.last - range.first + 1;
    const offset = random ? this.#nextRandom : 0;
    for (let i = 0; i < size; i++) {
      const ports = at(range.first + ((offset + i) % size));
      if (random) this.#nextRandom = (offset + i + 1) % size;
      const problem = await this.#takeAll(request, ports);
      if (problem === undefined) return ports;
      // An address that is not ours fails for every port alike.
      if (problem.code === "PORT_BIND_FAILED" && !problem.message.endsWith(inUse)) throw problem;
    }
    throw networkErrors.PORTS_EXHAUSTED({
      instance: request.instanceName,
      endpointId: request.endpointId,
      range: `${range.first}-${range.last}`,
    });
  }

  /** Takes the port on all the addresses, or on none. */
  async #takeAll(
    request: PortRequest,
    ports: readonly PublishedPort[],
  ): Promise<ReturnType<typeof failed> | undefined> {
    const taken: PublishedPort[] = [];
    let all = false;
    try {
      for (const port of ports) {
        const problem = await this.#take(request, port);
        if (problem !== undefined) return problem;
        taken.push(port);
      }
      all = true;
      return undefined;
    } finally {
      if (!all) this.release(request.instanceId, taken);
    }
  }

  async #take(request: PortRequest, port: PublishedPort): Promise<ReturnType<typeof failed> | undefined> {
    const holder = this.#holderOf(port);
    const allocated = (by: string): ReturnType<typeof failed> =>
      networkErrors.PORT_IN_USE({
        instance: request.instanceName,
        endpointId: request.endpointId,
        bind: `${bracketed(port.hostIp)}:${port.hostPort}`,
        holder: by,
      });
    if (holder !== undefined) return allocated(`container ${holder.instanceName}`);
    this.#hold(port, { instanceId: request.instanceId, instanceName: request.instanceName, hostIp: port.hostIp });
    let taken = false;
    try {
      const problem = this.#leases.take(port, request.netnsPath)
        ? await this.#refusedByHost(request, port)
        : allocated("another engine of this host");
      taken = problem === undefined;
      return problem;
    } finally {
      if (!taken) this.#drop(request.instanceId, port);
    }
  }

  async #refusedByHost(request: PortRequest, port: PublishedPort): Promise<ReturnType<typeof failed> | undefined> {
    const result = await this.#bindTest(port);
    switch (result.kind) {
      case "free":
        return undefined;
      case "in-use":
        return failed(request, port, inUse);
      case "refused":
        return failed(request, port, result.reason);
    }
  }

  #holderOf(port: HostPort): Holder | undefined {
    return this.#holders.get(keyOf(port))?.find((holder) => collide(holder.hostIp, port.hostIp));
  }

  #hold(port: HostPort, holder: Holder): void {
    this.#holders.set(keyOf(port), [...(this.#holders.get(keyOf(port)) ?? []), holder]);
  }

  #drop(instanceId: string, port: HostPort): void {
    const holders = this.#holders.get(keyOf(port)) ?? [];
    const rest = holders.filter((holder) => holder.instanceId !== instanceId || holder.hostIp !== port.hostIp);
    if (rest.length === holders.length) return;
    // First: a port whose lease can't be given back stays held, so that it is tried again.
    this.#leases.release(port);
    if (rest.length === 0) this.#holders.delete(keyOf(port));
    else this.#holders.set(keyOf(port), rest);
  }
}

const inUse = "address already in use";

/** A port without an address is one of every address of the host, in each family that the container has. */
function hostAddresses(request: PortRequest, spec: PortSpec): readonly string[] {
  if (spec.hostIp !== "") return [spec.hostIp];
  const everywhere = request.defaultHostIp === "0.0.0.0" && request.ipv6 !== "";
  return everywhere ? ["0.0.0.0", "::"] : [request.defaultHostIp];
}

function failed(request: PortRequest, port: PublishedPort, reason: string) {
  const target = port.hostIp.includes(":") ? request.ipv6 : request.ipv4;
  return networkErrors.PORT_BIND_FAILED({
    instance: request.instanceName,
    endpointId: request.endpointId,
    bind: `${bracketed(port.hostIp)}:${port.hostPort}:${bracketed(target)}:${port.containerPort}/${port.protocol}`,
    reason,
  });
}

function keyOf(port: HostPort): string {
  return `${port.protocol}-${port.hostPort}`;
}

function bracketed(ip: string): string {
  return ip.includes(":") ? `[${ip}]` : ip;
}

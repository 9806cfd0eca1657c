/** Which networks an instance is on, with which addresses and names, and what of Docker's rules forbids. */
import { newId } from "../base/ids.ts";
import type { OpContext } from "../base/op-context.ts";
import type { EndpointRecord, EndpointSpec, NetworkRecord } from "../schema/network.ts";
import { gatewayOf } from "./bridge-plan.ts";
import { isBridged } from "./bridged.ts";
import { dnsNamesOf } from "./dns-config.ts";
import type { EngineParts } from "./engine-parts.ts";
import { networkErrors } from "./errors.ts";
import type { SandboxRequest } from "./network-service.ts";
import type { StoredSandbox } from "./network-store.ts";
import { hasNames } from "./resolver-plan.ts";
import { type Attachment, freeInterfaceName, interfaceOrder, macFor, randomMac } from "./sandbox-plan.ts";

export class Attachments {
  readonly #parts: EngineParts;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** Each network that the request names, with its bridge up, in the order of the interfaces. */
  async networksFor(ctx: OpContext, request: SandboxRequest): Promise<readonly [NetworkRecord, EndpointSpec][]> {
    if (request.extraHosts.some((value) => value.endsWith("host-gateway"))) {
      await this.#parts.catalog.ensureUp(ctx, this.#parts.catalog.resolve("bridge"));
    }
    if (request.mode !== "bridge") {
      const network = this.#parts.catalog.resolve(request.mode);
      return [[network, request.endpoints[request.mode] ?? { aliases: [] }]];
    }
    const wanted = Object.entries(request.endpoints).map(([name, spec]) => ({
      network: this.#parts.catalog.resolve(name),
      spec,
      priority: spec.gwPriority ?? 0,
    }));
    const networks: [NetworkRecord, EndpointSpec][] = [];
    for (const { network, spec } of interfaceOrder(wanted)) {
      if (isBridged(network)) requireMachine(request, network);
      else if (network.spec.driver !== "bridge") throw refusedMix(network);
      if (networks.some(([other]) => other.id === network.id)) {
        throw networkErrors.ENDPOINT_EXISTS({ instance: request.instanceName, network: network.spec.name });
      }
      networks.push([await this.#parts.catalog.ensureUp(ctx, network), spec]);
    }
    return networks;
  }

  /** Takes the addresses on all networks, or on none. Does not wait. */
  attachAll(
    request: SandboxRequest,
    networks: readonly (readonly [NetworkRecord, EndpointSpec])[],
  ): readonly Attachment[] {
    const attachments: Attachment[] = [];
    try {
      for (const [network, spec] of networks) attachments.push(this.attach(request, network, spec, attachments));
      return attachments;
    } catch (error) {
      for (const { endpoint } of attachments) this.#parts.addresses.release(endpoint);
      throw error;
    }
  }

  attach(
    request: SandboxRequest,
    network: NetworkRecord,
    spec: EndpointSpec,
    others: readonly Attachment[],
  ): Attachment {
    // It may have been removed while the bridge of another was raised.
    if (!this.#parts.catalog.canBeJoined(network.id)) {
      throw networkErrors.NETWORK_NOT_FOUND({ name: network.spec.name });
    }
    const id = newId();
    const onBridge = network.spec.driver === "bridge" || isBridged(network);
    const { ipv4Cidr, ipv6Cidr } = this.#parts.addresses.allocate(network, onBridge ? spec : { aliases: [] });
    const taken = others.map(({ endpoint }) => endpoint.interfaceName);
    const endpoint: EndpointRecord = {
      id,
      networkId: network.id,
      networkName: network.spec.name,
      spec,
      interfaceName: onBridge ? freeInterfaceName(network, taken) : "",
      hostInterface: onBridge ? `vb${id.slice(0, 10)}` : "",
      ipv4Cidr,
      ...(ipv6Cidr === "" ? {} : { ipv6Cidr }),
      gateway: network.spec.internal ? "" : gatewayOf(network, 4),
      ...(ipv6Cidr === "" || network.spec.internal ? {} : { ipv6Gateway: gatewayOf(network, 6) }),
      macAddress: onBridge ? spec.macAddress || (ipv4Cidr === "" ? randomMac() : macFor(ipv4Cidr)) : "",
      dnsNames: [...dnsNames(request, network, spec)],
      ...(hasNames(network) ? { nameServer: gatewayOf(network, 4) } : {}),
    };
    return { network, endpoint };
  }

  /** A network that is gone from the records can't have endpoints, so none is lost here. */
  of(sandbox: StoredSandbox): readonly Attachment[] {
    return sandbox.endpoints.flatMap((endpoint) => {
      const network = this.#parts.records.networks.get(endpoint.networkId);
      return network === undefined ? [] : [{ endpoint, network }];
    });
  }
}

/** All names that the network's DNS answers for the instance; none on the default bridge. */
export function dnsNames(request: SandboxRequest, network: NetworkRecord, spec: EndpointSpec): readonly string[] {
  return hasNames(network) ? dnsNamesOf({ ...request, aliases: spec.aliases }) : [];
}

/** Who is on a bridged network asks for an address itself. `BRIDGED_FOR_MACHINES`. */
function requireMachine(request: Pick<SandboxRequest, "dhcp">, network: NetworkRecord): void {
  if (request.dhcp !== true) throw networkErrors.BRIDGED_FOR_MACHINES({ network: network.spec.name });
}

/** `ENDPOINT_EXISTS`, `CONNECT_REFUSED`, `BRIDGED_FOR_MACHINES`. */
export function refuseConnect(sandbox: StoredSandbox, network: NetworkRecord): void {
  if (sandbox.endpoints.some((endpoint) => endpoint.networkId === network.id)) {
    throw networkErrors.ENDPOINT_EXISTS({ instance: sandbox.instanceName, network: network.spec.name });
  }
  if (isBridged(network)) requireMachine(sandbox.request, network);
  if (network.spec.driver === "host") {
    throw networkErrors.CONNECT_REFUSED({
      reason: "cannot connect container to host network - container must be created in host network mode",
    });
  }
  if (network.spec.driver === "null" || sandbox.mode === "none") throw refusedMix(network);
  if (sandbox.mode === "host") {
    throw networkErrors.CONNECT_REFUSED({
      reason:
        "container sharing network namespace with another container or host cannot be connected to any other network",
    });
  }
}

function refusedMix(network: NetworkRecord): Error {
  return networkErrors.CONNECT_REFUSED({
    reason:
      network.spec.driver === "host"
        ? "cannot attach both user-defined and non-user-defined network-modes"
        : "container cannot be connected to multiple networks with one of the networks in private (none) mode",
  });
}

/** Which endpoint has which address, over all networks. In memory; filled again from the records at start. */
import type { EndpointRecord, EndpointSpec, NetworkRecord } from "../schema/network.ts";
import { networkErrors } from "./errors.ts";
import { contains, type IpAddress, isLinkLocal, parseCidr, parseIp } from "./ip-address.ts";
import { AddressPool } from "./ipam.ts";

export interface EndpointAddresses {
  /** With prefix length; "" where the network has none of the family. */
  readonly ipv4Cidr: string;
  readonly ipv6Cidr: string;
}

export class AddressBook {
  readonly #pools = new Map<string, readonly AddressPool[]>();

  /** Takes the addresses that `spec` asks for, else the next free ones. `ADDRESS_IN_USE`, `ADDRESS_INVALID`, `SUBNET_EXHAUSTED`. */
  allocate(network: NetworkRecord, spec: EndpointSpec): EndpointAddresses {
    const ipv4Cidr = this.#allocateFamily(network, 4, spec.ipv4Address ?? "");
    try {
      return { ipv4Cidr, ipv6Cidr: this.#allocateFamily(network, 6, spec.ipv6Address ?? "") };
    } catch (error) {
      this.#release(network.id, ipv4Cidr);
      throw error;
    }
  }

  /** Takes note of the addresses of an endpoint that exists already. */
  adopt(network: NetworkRecord, endpoint: EndpointRecord): void {
    for (const cidr of [endpoint.ipv4Cidr, endpoint.ipv6Cidr ?? ""]) {
      const ip = parseIp(addressOf(cidr));
      if (ip !== undefined) this.#poolFor(network, ip.family)?.claim(addressOf(cidr));
    }
  }

  release(endpoint: Pick<EndpointRecord, "networkId" | "ipv4Cidr" | "ipv6Cidr">): void {
    this.#release(endpoint.networkId, endpoint.ipv4Cidr);
    this.#release(endpoint.networkId, endpoint.ipv6Cidr ?? "");
  }

  /** The network is gone, or has other subnets now. */
  forget(networkId: string): void {
    this.#pools.delete(networkId);
  }

  #allocateFamily(network: NetworkRecord, family: 4 | 6, wanted: string): string {
    const pool = this.#poolFor(network, family);
    if (wanted !== "") checkWanted(network, wanted, family);
    if (pool === undefined) return "";
    const name = network.spec.name;
    if (wanted !== "" && !pool.claim(wanted)) throw networkErrors.ADDRESS_IN_USE({ address: wanted, network: name });
    const address = wanted === "" ? pool.allocate() : wanted;
    if (address === undefined) {
      const subnet = network.spec.ipam.map((p) => p.subnet).join(", ");
      throw networkErrors.SUBNET_EXHAUSTED({ network: name, subnet });
    }
    return `${address}/${pool.subnet.prefix}`;
  }

  #poolFor(network: NetworkRecord, family: 4 | 6): AddressPool | undefined {
    const known = this.#pools.get(network.id);
    const pools = known ?? network.spec.ipam.map((pool) => new AddressPool(pool));
    if (known === undefined) this.#pools.set(network.id, pools);
    return pools.find((pool) => pool.subnet.family === family);
  }

  #release(networkId: string, cidr: string): void {
    const ip: IpAddress | undefined = parseIp(addressOf(cidr));
    if (ip === undefined) return;
    this.#pools
      .get(networkId)
      ?.find((pool) => pool.subnet.family === ip.family)
      ?.release(addressOf(cidr));
  }
}

export function addressOf(cidr: string): string {
  return cidr.split("/")[0] ?? "";
}

/** Whether the network has room for the addresses that `spec` asks for, whoever holds them. `ADDRESS_INVALID`. */
export function checkAddresses(network: NetworkRecord, spec: EndpointSpec): void {
  if (spec.ipv4Address) checkWanted(network, spec.ipv4Address, 4);
  if (spec.ipv6Address) checkWanted(network, spec.ipv6Address, 6);
  for (const address of spec.linkLocalAddresses ?? []) {
    const reason = `invalid link local IP address: ${address}`;
    if (!isLinkLocal(address)) throw networkErrors.ADDRESS_INVALID({ network: network.spec.name, reason });
  }
}

function checkWanted(network: NetworkRecord, wanted: string, family: 4 | 6): void {
  const invalid = (reason: string) => networkErrors.ADDRESS_INVALID({ network: network.spec.name, reason });
  if (network.builtin) throw invalid("user specified IP address is supported on user defined networks only");
  const ip = parseIp(wanted);
  if (ip?.family !== family) throw invalid(`invalid IPv${family} address: ${wanted}`);
  const subnets = network.spec.ipam.flatMap((pool) => parseCidr(pool.subnet) ?? []);
  if (!subnets.some((subnet) => subnet.family === family && contains(subnet, ip))) {
    throw invalid(`no configured subnet or ip-range contain the IP address ${wanted}`);
  }
}

/** Address management: which subnet a network gets, and which address an endpoint. Pure: state lives in memory, rebuilt from the records. */
import type { IpamPool } from "../schema/network.ts";
import { networkErrors } from "./errors.ts";
import {
  type Cidr,
  contains,
  formatCidr,
  formatIp,
  type IpAddress,
  lastOf,
  networkOf,
  overlaps,
  parseCidr,
  parseIp,
  widthOf,
} from "./ip-address.ts";

/** A range that subnets are cut from: the engine's `addressPools`. Cutting begins at `base` itself, not at its network. */
export interface SubnetPool {
  readonly base: string;
  readonly size: number;
}

/** The first subnet of the pools that touches nothing in `taken` (other networks, the host's routes). `POOLS_EXHAUSTED`. */
export function chooseSubnet(pools: readonly SubnetPool[], taken: readonly Cidr[]): Cidr {
  for (const { base, size } of pools) {
    const pool = parseCidr(base);
    if (pool === undefined || size < pool.prefix || size > widthOf(pool)) continue;
    const step = 1n << BigInt(widthOf(pool) - size);
    const last = lastOf(pool).bits;
    let candidate = networkOf({ ...pool, prefix: size });
    while (candidate.bits <= last) {
      const current = candidate;
      const blocker = taken.find((other) => overlaps(other, current));
      if (blocker === undefined) return candidate;
      // Jump over a large blocker at once: a host route of 10.0.0.0/8 must not cost 65536 comparisons.
      const after = blocker.prefix < size ? lastOf(networkOf(blocker)).bits + 1n : candidate.bits + step;
      candidate = { ...candidate, bits: after };
    }
  }
  throw networkErrors.POOLS_EXHAUSTED({ pools: pools.map((pool) => `${pool.base}, /${pool.size}`) });
}

/** What is wrong with the pools of a `network create`, in Docker's words; empty when all is well. */
export function poolMistakes(pools: readonly IpamPool[]): readonly string[] {
  const mistakes = pools.flatMap((pool) => mistakesOf(pool));
  for (const family of [4, 6] as const) {
    if (pools.filter((pool) => parseCidr(pool.subnet)?.family === family).length > 1) {
      mistakes.push(`the bridge driver takes one IPv${family} subnet a network`);
    }
  }
  return mistakes;
}

function mistakesOf(pool: IpamPool): string[] {
  if (pool.subnet === "") return ["a gateway, ip-range or auxiliary address needs a subnet"];
  const subnet = parseCidr(pool.subnet);
  if (subnet === undefined) return [`invalid subnet ${pool.subnet}: invalid CIDR block notation`];
  const proper = formatCidr(networkOf(subnet));
  if (networkOf(subnet).bits !== subnet.bits) return [`invalid subnet ${pool.subnet}: it should be ${proper}`];
  const mistakes: string[] = [];
  if (subnet.prefix > widthOf(subnet) - 2)
    mistakes.push(`invalid subnet ${pool.subnet}: no room for a gateway and a container`);
  const gateway = pool.gateway === undefined ? undefined : parseIp(pool.gateway);
  if (pool.gateway !== undefined) {
    if (gateway === undefined) mistakes.push(`invalid gateway ${pool.gateway}: invalid address`);
    else if (!contains(subnet, gateway))
      mistakes.push(`invalid gateway ${pool.gateway}: parent subnet ${proper} doesn't contain this address`);
  }
  if (pool.ipRange !== undefined) {
    const range = parseCidr(pool.ipRange);
    if (range === undefined) mistakes.push(`invalid ip-range ${pool.ipRange}: invalid CIDR block notation`);
    else if (!contains(subnet, range) || range.prefix < subnet.prefix)
      mistakes.push(`invalid ip-range ${pool.ipRange}: parent subnet ${proper} doesn't contain ip-range`);
    else if (networkOf(range).bits !== range.bits)
      mistakes.push(`invalid ip-range ${pool.ipRange}: it should be ${formatCidr(networkOf(range))}`);
  }
  for (const [name, text] of Object.entries(pool.auxAddresses ?? {})) {
    const address = parseIp(text);
    if (address === undefined) mistakes.push(`invalid auxiliary address ${name}: invalid address`);
    else if (!contains(subnet, address))
      mistakes.push(`invalid auxiliary address ${name}: parent subnet ${proper} doesn't contain this address`);
  }
  return mistakes;
}

/** The gateway that a pool without one gets: the first address of its range. */
export function withGateway(pool: IpamPool): IpamPool {
  if (pool.gateway !== undefined) return pool;
  const subnet = required(parseCidr(pool.subnet), pool.subnet);
  const range = pool.ipRange === undefined ? subnet : required(parseCidr(pool.ipRange), pool.ipRange);
  const aux = new Set(Object.values(pool.auxAddresses ?? {}).map((text) => parseIp(text)?.bits));
  let bits = range.bits === subnet.bits ? range.bits + 1n : range.bits;
  while (aux.has(bits)) bits += 1n;
  return { ...pool, gateway: formatIp({ family: subnet.family, bits }) };
}

/**
 * Who has which address of one subnet. Addresses are handed out in rising order and start over at the end, so that
 * a freed one rests as long as possible: the kernel takes a dead container's interface down a little later.
 */
export class AddressPool {
  readonly subnet: Cidr;
  readonly gateway: IpAddress;
  readonly #first: bigint;
  readonly #last: bigint;
  readonly #reserved: ReadonlySet<bigint>;
  readonly #taken = new Set<bigint>();
  #cursor: bigint;

  /** `pool` must have passed {@link poolMistakes} and {@link withGateway}. */
  constructor(pool: IpamPool) {
    this.subnet = required(parseCidr(pool.subnet), pool.subnet);
    this.gateway = required(parseIp(pool.gateway ?? ""), pool.gateway ?? "");
    const range = pool.ipRange === undefined ? this.subnet : required(parseCidr(pool.ipRange), pool.ipRange);
    const lastOfSubnet = lastOf(this.subnet).bits;
    this.#first = range.bits;
    this.#last = lastOf(range).bits;
    this.#reserved = new Set([
      this.subnet.bits,
      this.gateway.bits,
      ...(this.subnet.family === 4 ? [lastOfSubnet] : []),
      ...Object.values(pool.auxAddresses ?? {}).map((text) => required(parseIp(text), text).bits),
    ]);
    this.#cursor = this.#first;
  }

  /** The next free address, now taken; undefined when there is none left. */
  allocate(): string | undefined {
    const size = this.#last - this.#first + 1n;
    for (let tried = 0n; tried < size; tried += 1n) {
      const bits = this.#cursor;
      this.#cursor = bits === this.#last ? this.#first : bits + 1n;
      if (this.#reserved.has(bits) || this.#taken.has(bits)) continue;
      this.#taken.add(bits);
      return formatIp({ family: this.subnet.family, bits });
    }
    return undefined;
  }

  /** Takes a given address, also outside the range it hands out from; false when it is taken or reserved. */
  claim(address: string): boolean {
    const ip = required(parseIp(address), address);
    if (!contains(this.subnet, ip) || this.#reserved.has(ip.bits) || this.#taken.has(ip.bits)) return false;
    this.#taken.add(ip.bits);
    return true;
  }

  release(address: string): void {
    const ip = parseIp(address);
    if (ip !== undefined) this.#taken.delete(ip.bits);
  }
}

/** `value`, which an earlier check has vouched for. */
function required<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new Error(`unchecked address "${text}"`);
  return value;
}

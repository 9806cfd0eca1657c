/** `--subnet`, `--gateway`, `--ip-range` and `--aux-address` as the engine's pools: each goes to the subnet that holds it. */
import { BlockList, isIP } from "node:net";
import { cliErrors } from "../../errors.ts";
import { pairs } from "../container/create-body.ts";

interface PoolOptions {
  readonly subnet: readonly string[];
  readonly gateway: readonly string[];
  readonly ipRange: readonly string[];
  readonly auxAddress: readonly string[];
}

interface Pool {
  readonly Subnet: string;
  Gateway?: string;
  IPRange?: string;
  AuxiliaryAddresses?: Record<string, string>;
}

/** `OPTION_INVALID` for an address that is in no subnet, or a second one of its kind in the same. */
export function ipamPools(options: PoolOptions): readonly Pool[] {
  const pools = options.subnet.map((subnet): Pool => ({ Subnet: subnet }));
  const poolOf = (option: string, value: string, address: string): Pool => {
    const pool = pools.find(({ Subnet }) => holds(Subnet, address));
    if (pool !== undefined) return pool;
    throw cliErrors.OPTION_INVALID({ option, value, reason: "no --subnet holds it" });
  };
  const once = (option: string, value: string, taken: string | undefined): string => {
    if (taken === undefined) return value;
    throw cliErrors.OPTION_INVALID({ option, value, reason: `its subnet has ${taken} already` });
  };
  for (const range of options.ipRange) {
    const pool = poolOf("ip-range", range, range.split("/")[0] ?? "");
    pool.IPRange = once("ip-range", range, pool.IPRange);
  }
  for (const gateway of options.gateway) {
    const pool = poolOf("gateway", gateway, gateway);
    pool.Gateway = once("gateway", gateway, pool.Gateway);
  }
  for (const [name, address] of Object.entries(pairs(options.auxAddress, "aux-address"))) {
    const pool = poolOf("aux-address", `${name}=${address}`, address);
    pool.AuxiliaryAddresses = { ...pool.AuxiliaryAddresses, [name]: address };
  }
  return pools;
}

function holds(subnet: string, address: string): boolean {
  const [base = "", prefix = ""] = subnet.split("/");
  const family = isIP(base) === 6 ? "ipv6" : "ipv4";
  const width = family === "ipv6" ? 128 : 32;
  // A subnet that is none is the engine's to refuse, with its own words.
  if (isIP(base) === 0 || !/^\d+$/.test(prefix) || Number(prefix) > width) return true;
  if (isIP(address) !== (family === "ipv6" ? 6 : 4)) return false;
  const list = new BlockList();
  list.addSubnet(base, Number(prefix), family);
  return list.check(address, family);
}

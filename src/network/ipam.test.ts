import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatCidr, overlaps, parseCidr } from "./ip-address.ts";
import { AddressPool, chooseSubnet, poolMistakes, withGateway } from "./ipam.ts";

const pools = [
  { base: "172.17.0.0/12", size: 16 },
  { base: "192.168.0.0/16", size: 20 },
];

function cidr(text: string) {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`unparsed ${text}`);
  return parsed;
}

describe("choosing a subnet", () => {
  it("begins at the pool's base and goes on to the next pool", () => {
    expect(formatCidr(chooseSubnet(pools, []))).toBe("172.17.0.0/16");
    expect(formatCidr(chooseSubnet(pools, [cidr("172.17.3.0/24"), cidr("172.18.0.0/15")]))).toBe("172.20.0.0/16");
    expect(formatCidr(chooseSubnet(pools, [cidr("172.16.0.0/12")]))).toBe("192.168.0.0/20");
  });

  it("says which pools are used up", () => {
    expect(() => chooseSubnet(pools, [cidr("172.16.0.0/12"), cidr("192.168.0.0/16")])).toThrow(
      "all predefined address pools have been fully subnetted",
    );
  });

  it("never overlaps what is taken", () => {
    const taken = fc.array(
      fc.tuple(
        fc.constantFrom("172.16.0.0", "172.20.7.9", "192.168.99.0", "10.0.0.0"),
        fc.integer({ min: 10, max: 32 }),
      ),
    );
    fc.assert(
      fc.property(taken, (list) => {
        const others = list.map(([ip, prefix]) => cidr(`${ip}/${prefix}`));
        let chosen;
        try {
          chosen = chooseSubnet(pools, others);
        } catch (error) {
          expect(error).toMatchObject({ code: "POOLS_EXHAUSTED" });
          return;
        }
        const subnet = chosen;
        expect(others.some((other) => overlaps(other, subnet))).toBe(false);
      }),
    );
  });
});

describe("a pool's mistakes", () => {
  it.each([
    [{ subnet: "zz" }, "invalid subnet zz: invalid CIDR block notation"],
    [{ subnet: "10.9.0.1/24" }, "invalid subnet 10.9.0.1/24: it should be 10.9.0.0/24"],
    [{ subnet: "10.9.0.0/31" }, "invalid subnet 10.9.0.0/31: no room for a gateway and a container"],
    [
      { subnet: "10.8.0.0/24", gateway: "10.7.0.1" },
      "invalid gateway 10.7.0.1: parent subnet 10.8.0.0/24 doesn't contain this address",
    ],
    [
      { subnet: "10.8.0.0/24", ipRange: "10.7.0.0/25" },
      "invalid ip-range 10.7.0.0/25: parent subnet 10.8.0.0/24 doesn't contain ip-range",
    ],
    [
      { subnet: "10.8.0.0/24", auxAddresses: { a: "10.7.0.1" } },
      "invalid auxiliary address a: parent subnet 10.8.0.0/24 doesn't contain this address",
    ],
  ])("%j", (pool, mistake) => {
    expect(poolMistakes([pool])).toEqual([mistake]);
  });

  it("are none in a good one, and two of a family are one too many", () => {
    const good = {
      subnet: "10.8.0.0/24",
      ipRange: "10.8.0.128/25",
      gateway: "10.8.0.254",
      auxAddresses: { a: "10.8.0.3" },
    };
    expect(poolMistakes([good, { subnet: "fd00::/64" }])).toEqual([]);
    expect(poolMistakes([good, { subnet: "10.9.0.0/24" }])).toEqual([
      "the bridge driver takes one IPv4 subnet a network",
    ]);
  });
});

describe("addresses of a pool", () => {
  it("come in order, without the gateway, the reserved ones and the ends, and rest before they come again", () => {
    const pool = new AddressPool(withGateway({ subnet: "10.8.0.0/29", auxAddresses: { router: "10.8.0.3" } }));
    expect([1, 2, 3, 4, 5].map(() => pool.allocate())).toEqual([
      "10.8.0.2",
      "10.8.0.4",
      "10.8.0.5",
      "10.8.0.6",
      undefined,
    ]);
    pool.release("10.8.0.4");
    pool.release("10.8.0.2");
    expect(pool.allocate()).toBe("10.8.0.2");
    pool.release("10.8.0.2");
    expect(pool.allocate()).toBe("10.8.0.4");
  });

  it("stay in the range, but may be asked for outside of it", () => {
    const pool = new AddressPool(withGateway({ subnet: "10.8.0.0/24", ipRange: "10.8.0.128/30" }));
    expect([1, 2, 3, 4].map(() => pool.allocate())).toEqual(["10.8.0.129", "10.8.0.130", "10.8.0.131", undefined]);
    expect(pool.claim("10.8.0.9")).toBe(true);
    expect(pool.claim("10.8.0.9")).toBe(false);
    expect(pool.claim("10.8.0.128")).toBe(false);
    expect(pool.claim("10.8.0.255")).toBe(false);
    expect(pool.claim("10.9.0.9")).toBe(false);
  });

  it("are never given twice", () => {
    const step = fc.oneof(fc.constant("take" as const), fc.nat({ max: 13 }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const pool = new AddressPool(withGateway({ subnet: "10.8.0.0/28" }));
        const held = new Set<string>();
        for (const what of steps) {
          if (what === "take") {
            const address = pool.allocate();
            expect(address === undefined).toBe(held.size === 13);
            if (address === undefined) continue;
            expect(held.has(address)).toBe(false);
            held.add(address);
          } else {
            pool.release(`10.8.0.${what + 1}`);
            held.delete(`10.8.0.${what + 1}`);
          }
        }
      }),
    );
  });

  it("exist in IPv6 as well", () => {
    const pool = new AddressPool(withGateway({ subnet: "fd00:1::/64" }));
    expect([pool.allocate(), pool.allocate()]).toEqual(["fd00:1::2", "fd00:1::3"]);
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  contains,
  formatCidr,
  formatIp,
  lastOf,
  networkOf,
  overlaps,
  parseCidr,
  parseIp,
  reverseZones,
} from "./ip-address.ts";

describe("addresses", () => {
  it.each([
    ["0.0.0.0", "0.0.0.0"],
    ["172.17.0.2", "172.17.0.2"],
    ["::", "::"],
    ["::1", "::1"],
    ["FD00:0:0:1:0:0:0:1", "fd00:0:0:1::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["fe80::", "fe80::"],
    ["::ffff:10.0.0.1", "::ffff:a00:1"],
  ])("writes %s as %s", (text, canonical) => {
    const ip = parseIp(text);
    expect(ip && formatIp(ip)).toBe(canonical);
  });

  it.each(["", "10.0.0", "10.0.0.256", "fe80::1%eth0", "10.0.0.1/24", ":::", "host"])("refuses %j", (text) => {
    expect(parseIp(text)).toBeUndefined();
  });

  it("reads back what it writes", () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const ip = parseIp(text);
        expect(ip).toBeDefined();
        expect(ip && parseIp(formatIp(ip))).toEqual(ip);
      }),
    );
  });
});

describe("prefixes", () => {
  it.each(["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0.0/8/8", "x/8", "10.0.0.0/"])(
    "refuses %j",
    (text) => {
      expect(parseCidr(text)).toBeUndefined();
    },
  );

  it("knows its ends and what lies in it", () => {
    const cidr = parseCidr("10.1.2.3/20");
    if (cidr === undefined) throw new Error("unparsed");
    expect(formatCidr(networkOf(cidr))).toBe("10.1.0.0/20");
    expect(formatIp(lastOf(cidr))).toBe("10.1.15.255");
    const inside = (text: string): boolean => contains(cidr, parseIp(text) ?? { family: 6, bits: 0n });
    expect(["10.1.0.0", "10.1.15.255", "10.1.16.0", "::1"].map(inside)).toEqual([true, true, false, false]);
  });

  it("overlap when one holds the other, whichever is asked", () => {
    const v4 = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })).map(([ip, prefix]) => `${ip}/${prefix}`);
    fc.assert(
      fc.property(v4, v4, (left, right) => {
        const [a, b] = [parseCidr(left), parseCidr(right)];
        if (a === undefined || b === undefined) throw new Error("unparsed");
        const [loA, hiA, loB, hiB] = [networkOf(a).bits, lastOf(a).bits, networkOf(b).bits, lastOf(b).bits];
        expect(overlaps(a, b)).toBe(loA <= hiB && loB <= hiA);
        expect(overlaps(b, a)).toBe(overlaps(a, b));
      }),
    );
  });
});

describe("reverse zones", () => {
  it.each([
    ["10.0.0.0/8", ["10.in-addr.arpa"]],
    ["172.18.0.0/16", ["18.172.in-addr.arpa"]],
    ["192.168.32.0/23", ["32.168.192.in-addr.arpa", "33.168.192.in-addr.arpa"]],
    ["192.168.32.128/25", ["32.168.192.in-addr.arpa"]],
    ["fd12:3456::/32", ["6.5.4.3.2.1.d.f.ip6.arpa"]],
  ])("of %s", (subnet, zones) => {
    const cidr = parseCidr(subnet);
    expect(cidr && reverseZones(cidr)).toEqual(zones);
  });

  it("cover a prefix within a label by all its labels", () => {
    const cidr = parseCidr("192.168.16.0/20");
    const zones = cidr === undefined ? [] : reverseZones(cidr);
    expect(zones).toHaveLength(16);
    expect([zones[0], zones[15]]).toEqual(["16.168.192.in-addr.arpa", "31.168.192.in-addr.arpa"]);
  });
});

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { broadcastOf, formatAddress, formatMac, parseAddress, parseMac, parsePrefix } from "./ip-address.ts";

describe("addresses", () => {
  it.each([
    ["10.1.2.3", "0a010203"],
    ["::", "00000000000000000000000000000000"],
    ["::1", "00000000000000000000000000000001"],
    ["fd00:77::1", "fd000077000000000000000000000001"],
    ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
    ["1:2:3:4:5:6:7::", "00010002000300040005000600070000"],
    ["::ffff:192.0.2.128", "00000000000000000000ffffc0000280"],
    ["64:ff9b::192.0.2.33", "0064ff9b0000000000000000c0000221"],
  ])("%s is %s", (text, hex) => {
    expect(parseAddress(text)?.toString("hex")).toBe(hex);
  });

  it.each(["", "10.0.0", "10.0.0.256", "fe80::1%eth0", "host", "10.0.0.1/8"])("%j is none", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  // RFC 5952, section 4.
  it.each([
    ["2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["1:0:0:0:0:0:0:0", "1::"],
  ])("%s is written %s", (text, canonical) => {
    expect(formatAddress(parseAddress(text) ?? Buffer.alloc(0))).toBe(canonical);
  });

  it("come back from their text", () => {
    const sometimesZero = fc.oneof(fc.constant(0), fc.nat(255));
    const lengths = fc.constantFrom(4, 16);
    fc.assert(
      fc.property(
        lengths.chain((n) => fc.array(sometimesZero, { minLength: n, maxLength: n })),
        (bytes) => {
          expect([...(parseAddress(formatAddress(Uint8Array.from(bytes))) ?? [])]).toEqual(bytes);
        },
      ),
    );
  });
});

describe("prefixes", () => {
  it("have a family and a length, the whole address by default", () => {
    expect(parsePrefix("10.0.0.1/24")).toMatchObject({ family: "ipv4", length: 24 });
    expect(parsePrefix("fd00::1")).toMatchObject({ family: "ipv6", length: 128 });
    expect(parsePrefix("0.0.0.0/0")).toMatchObject({ family: "ipv4", length: 0 });
  });

  it.each(["10.0.0.1/33", "10.0.0.1/", "10.0.0.1/a", "10.0.0.1/-1", "::/129", "x/8", "10.0.0.1/8/8"])(
    "%s is refused by name",
    (text) => {
      expect(() => parsePrefix(text)).toThrow(text);
    },
  );

  it.each([
    ["10.1.2.3/24", "10.1.2.255"],
    ["172.17.0.1/16", "172.17.255.255"],
    ["10.0.0.1/0", "255.255.255.255"],
    ["10.0.0.4/30", "10.0.0.7"],
  ])("%s ends at %s", (prefix, last) => {
    expect(formatAddress(broadcastOf(parsePrefix(prefix)))).toBe(last);
  });
});

describe("hardware addresses", () => {
  it("come back from their text", () => {
    expect(formatMac(parseMac("02:42:AC:11:00:02"))).toBe("02:42:ac:11:00:02");
    expect(() => parseMac("02:42:ac:11:00")).toThrow(/02:42:ac:11:00/);
    expect(formatMac(undefined)).toBe("");
  });
});

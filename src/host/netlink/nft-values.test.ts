import { describe, expect, it } from "vitest";
import { encodeNftValue, parseVerdict } from "./nft-values.ts";

const [ipv4, ipv6, protocol, service, mark, ifname] = [7, 8, 12, 13, 19, 41];
const concat = (...types: number[]) => types.reduce((packed, type) => (packed << 6) | type, 0);

describe("encodeNftValue", () => {
  it.each([
    ["10.1.2.3", ipv4, "0a010203"],
    ["fd00::1", ipv6, "fd000000000000000000000000000001"],
    ["tcp", protocol, "06"],
    ["17", protocol, "11"],
    ["8080", service, "1f90"],
    ["0x10", mark, "10000000"],
    ["eth0", ifname, "65746830000000000000000000000000"],
    ['"br-x"', ifname, "62722d78000000000000000000000000"],
  ])("writes %s of type %i as %s", (text, type, hex) => {
    expect(encodeNftValue(text, type)?.toString("hex")).toBe(hex);
  });

  it("pads each field of a concatenation to 4 bytes", () => {
    expect(encodeNftValue("10.1.2.3 . tcp . 80", concat(ipv4, protocol, service))?.toString("hex")).toBe(
      "0a0102030600000000500000",
    );
  });

  it.each([
    ["10.0.0.0/8", ipv4],
    ["10.0.0.1-10.0.0.9", ipv4],
    ["fd00::1", ipv4],
    ["http", service],
    ["65536", service],
    ["eth*", ifname],
    ["1.2.3.4 . 80", ipv4],
    ["1.2.3.4", concat(ipv4, service)],
    ["1.2.3.4 . http", concat(ipv4, service)],
    ["new", 26],
  ])("leaves %s of type %i to nft", (text, type) => {
    expect(encodeNftValue(text, type)).toBeUndefined();
  });
});

describe("parseVerdict", () => {
  it("knows verdicts and their chains", () => {
    expect(parseVerdict("accept")).toEqual({ code: 1 });
    expect(parseVerdict("jump web")).toEqual({ code: -3, chain: "web" });
    expect(parseVerdict("goto web")).toEqual({ code: -4, chain: "web" });
  });

  it.each(["", "jump", "accept web", "reject", "jump a b"])("knows no %j", (text) => {
    expect(parseVerdict(text)).toBeUndefined();
  });
});

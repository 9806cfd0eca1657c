import { describe, expect, it } from "vitest";
import { ipamPools } from "./ipam-pools.ts";

describe("ipam pools", () => {
  const none = { subnet: [], gateway: [], ipRange: [], auxAddress: [] };

  it("put each address into the subnet that holds it", () => {
    expect(
      ipamPools({
        subnet: ["10.1.0.0/24", "fd00:1::/64"],
        gateway: ["fd00:1::1", "10.1.0.254"],
        ipRange: ["10.1.0.128/25"],
        auxAddress: ["router=10.1.0.5", "printer=fd00:1::5"],
      }),
    ).toEqual([
      {
        Subnet: "10.1.0.0/24",
        Gateway: "10.1.0.254",
        IPRange: "10.1.0.128/25",
        AuxiliaryAddresses: { router: "10.1.0.5" },
      },
      { Subnet: "fd00:1::/64", Gateway: "fd00:1::1", AuxiliaryAddresses: { printer: "fd00:1::5" } },
    ]);
  });

  it("refuse what no subnet holds, and two gateways in one; leave a bad subnet to the engine", () => {
    expect(() => ipamPools({ ...none, gateway: ["10.1.0.1"] })).toThrow("no --subnet holds it");
    expect(() => ipamPools({ ...none, subnet: ["10.1.0.0/24"], auxAddress: ["a=10.2.0.1"] })).toThrow("a=10.2.0.1");
    expect(() => ipamPools({ ...none, subnet: ["10.1.0.0/24"], gateway: ["10.1.0.1", "10.1.0.2"] })).toThrow("already");
    expect(ipamPools({ ...none, subnet: ["300.1.1.1/24"], gateway: ["10.1.0.1"] })).toEqual([
      { Subnet: "300.1.1.1/24", Gateway: "10.1.0.1" },
    ]);
  });
});

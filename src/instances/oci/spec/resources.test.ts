import { describe, expect, it } from "vitest";
import { unlimited } from "../../../schema/resources.ts";
import { containerResources } from "./resources.ts";

const host = { swapLimit: true, blockDevices: new Map([["/dev/sda", { major: 8, minor: 0 }]]) };
const of = (resources: Partial<typeof unlimited>, more: Partial<typeof host> = {}) =>
  containerResources({ ...unlimited, ...resources }, [], { ...host, ...more });

describe("containerResources", () => {
  it("states nothing when nothing is asked for", () => {
    expect(of({})).toEqual({ devices: [] });
  });

  it("turns CPUs into a quota of 100 ms", () => {
    expect(of({ nanoCpus: 1_500_000_000 }).cpu).toEqual({ period: 100_000, quota: 150_000 });
  });

  it("allows as much swap as memory unless told otherwise", () => {
    expect(of({ memory: 1000 }).memory).toEqual({ limit: 1000, swap: 2000 });
    expect(of({ memory: 1000, memorySwap: -1 }).memory).toEqual({ limit: 1000, swap: -1 });
    expect(of({ memory: 1000 }, { swapLimit: false }).memory).toEqual({ limit: 1000 });
  });

  it("takes a swappiness of 0 for a statement", () => {
    expect(of({ memorySwappiness: 0 }).memory).toEqual({ swappiness: 0 });
    expect(of({ memorySwappiness: -1 }).memory).toBeUndefined();
  });

  it("takes 0 and -1 pids for no limit", () => {
    expect(of({ pidsLimit: -1 }).pids).toBeUndefined();
    expect(of({ pidsLimit: 10 }).pids).toEqual({ limit: 10 });
  });

  it("names block devices by number", () => {
    expect(of({ blkioWeight: 300, blkioDeviceReadBps: [{ path: "/dev/sda", rate: 5 }] }).blockIO).toEqual({
      weight: 300,
      throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 5 }],
    });
  });
});

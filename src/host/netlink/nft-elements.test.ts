import { describe, expect, it } from "vitest";
import { encodeElements, nftScripts } from "./nft-elements.ts";
import { NFT_SET_INTERVAL, NFT_SET_MAP, type NftSet } from "./nft-messages.ts";

const portMap: NftSet = {
  table: "t",
  name: "ports",
  flags: NFT_SET_MAP,
  keyType: 13,
  keyLength: 2,
  dataType: 7,
  dataLength: 4,
};

describe("encodeElements", () => {
  it("gives keys and data of a map", () => {
    expect(encodeElements(portMap, [{ key: "80", value: "10.0.0.2" }], true)).toEqual([
      { key: Buffer.of(0, 80), data: Buffer.of(10, 0, 0, 2) },
    ]);
  });

  it("needs no data to delete", () => {
    expect(encodeElements(portMap, [{ key: "80" }], false)).toEqual([{ key: Buffer.of(0, 80) }]);
  });

  it("leaves to nft what it can't be sure of", () => {
    const element = { key: "80", value: "10.0.0.2" };
    expect(encodeElements({ ...portMap, flags: NFT_SET_MAP | NFT_SET_INTERVAL }, [element], true)).toBeUndefined();
    expect(encodeElements({ ...portMap, flags: 0 }, [element], true)).toBeUndefined();
    expect(encodeElements({ ...portMap, keyLength: 4 }, [element], true)).toBeUndefined();
    expect(encodeElements(portMap, [{ key: "80" }], true)).toBeUndefined();
    expect(encodeElements(portMap, [element, { key: "http", value: "10.0.0.2" }], true)).toBeUndefined();
    const many = Array.from({ length: 1001 }, () => element);
    expect(encodeElements(portMap, many, true)).toBeUndefined();
  });
});

describe("nftScripts", () => {
  it("adds all at once, and deletes one by one so that a missing one stops nothing", () => {
    const elements = [{ key: "80", value: "10.0.0.2" }, { key: "81" }];
    const target = { table: "t", set: "s", elements };
    expect(nftScripts({ op: "nft-add-elements", ...target })).toEqual({
      scripts: ["add element inet t s { 80 : 10.0.0.2, 81 }\n"],
      missingIsFine: false,
    });
    expect(nftScripts({ op: "nft-delete-elements", ...target })).toEqual({
      scripts: ["delete element inet t s { 80 }\n", "delete element inet t s { 81 }\n"],
      missingIsFine: true,
    });
  });
});

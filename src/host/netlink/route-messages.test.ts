import { describe, expect, it } from "vitest";
import { attributesOf, textOf } from "./message.ts";
import { changeLink, delRoute, newAddress, newBridge, newRoute, newVeth, setHairpin } from "./route-messages.ts";

describe("link messages", () => {
  it("make a bridge of its own hardware address", () => {
    const { body, flags } = newBridge({ name: "br0", mtu: 1400, mac: "02:00:00:00:00:01" });
    const attributes = attributesOf(body, 16);
    // NLM_F_CREATE | NLM_F_EXCL
    expect(flags).toBe(0x600);
    expect(textOf(attributes.get(3))).toBe("br0");
    expect(attributes.get(4)?.readUInt32LE()).toBe(1400);
    expect(attributes.get(1)?.toString("hex")).toBe("020000000001");
    expect(textOf(attributesOf(attributes.get(18) ?? Buffer.alloc(0)).get(1))).toBe("bridge");
  });

  it("make both ends of a pair at once: ours up in the bridge, theirs in its namespace", () => {
    const { body } = newVeth({
      name: "vb1",
      bridgeIndex: 7,
      peer: "eth0",
      mtu: 1400,
      mac: "02:42:0a:00:00:02",
      netnsFd: 33,
    });
    // ifi_flags and ifi_change: IFF_UP
    expect(body.subarray(8, 16).toString("hex")).toBe("0100000001000000");
    const ours = attributesOf(body, 16);
    expect(textOf(ours.get(3))).toBe("vb1");
    expect(ours.get(10)?.readUInt32LE()).toBe(7);
    const info = attributesOf(ours.get(18) ?? Buffer.alloc(0));
    expect(textOf(info.get(1))).toBe("veth");
    const peer = attributesOf(info.get(2) ?? Buffer.alloc(0)).get(1) ?? Buffer.alloc(0);
    // Up at once it would be refused (ENOTCONN).
    expect(peer.readUInt32LE(8)).toBe(0);
    const theirs = attributesOf(peer, 16);
    expect(textOf(theirs.get(3))).toBe("eth0");
    expect(theirs.get(28)?.readUInt32LE()).toBe(33);
    expect(theirs.get(1)?.toString("hex")).toBe("02420a000002");
  });

  it("set the hairpin mode of a port by name", () => {
    const info = attributesOf(attributesOf(setHairpin("vb1").body, 16).get(18) ?? Buffer.alloc(0));
    expect(textOf(info.get(4))).toBe("bridge");
    expect(attributesOf(info.get(5) ?? Buffer.alloc(0)).get(4)).toEqual(Buffer.of(1));
  });

  it("change only what is stated", () => {
    expect(changeLink({ index: 5, up: true }).body).toHaveLength(16);
    expect(changeLink({ index: 5 }).body.readUInt32LE(12)).toBe(0);
    expect([...attributesOf(changeLink({ index: 5, rename: "eth1", mtu: 9000 }).body, 16).keys()]).toEqual([3, 4]);
  });
});

describe("address messages", () => {
  it("carry a broadcast address for IPv4", () => {
    const { body } = newAddress(9, "10.2.3.4/24");
    expect(body.subarray(0, 8).toString("hex")).toBe("0218000009000000");
    const attributes = attributesOf(body, 8);
    expect(attributes.get(2)?.toString("hex")).toBe("0a020304");
    expect(attributes.get(4)?.toString("hex")).toBe("0a0203ff");
  });

  it("have none where there is no room for one", () => {
    expect(attributesOf(newAddress(9, "10.2.3.4/32").body, 8).has(4)).toBe(false);
  });

  it("skip duplicate address detection for IPv6", () => {
    expect(newAddress(9, "fd00::1/64").body.subarray(0, 4).toString("hex")).toBe("0a400200");
  });
});

describe("route messages", () => {
  it("go through a gateway", () => {
    const { body } = newRoute({ destination: "0.0.0.0/0", gateway: "10.0.0.1", metric: 5 }, 3);
    // AF_INET, /0, table main, proto static, scope universe, unicast
    expect(body.subarray(0, 8).toString("hex")).toBe("02000000fe040001");
    const attributes = attributesOf(body, 12);
    expect(attributes.has(1)).toBe(false);
    expect(attributes.get(5)?.toString("hex")).toBe("0a000001");
    expect(attributes.get(4)?.readUInt32LE()).toBe(3);
    expect(attributes.get(6)?.readUInt32LE()).toBe(5);
  });

  it("reach a network on the link itself", () => {
    expect(newRoute({ destination: "10.9.0.0/16", device: "eth0" }, 3).body.subarray(0, 8).toString("hex")).toBe(
      "02100000fe04fd01",
    );
  });

  it("are deleted whatever made them", () => {
    expect(delRoute({ destination: "10.9.0.0/16" }, 0).body.subarray(4, 8).toString("hex")).toBe("fe00ff00");
  });

  it("refuse what is no gateway by name", () => {
    expect(() => newRoute({ destination: "::/0", gateway: "router" }, 0)).toThrow("router");
  });
});

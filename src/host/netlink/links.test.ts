import { describe, expect, it } from "vitest";
import { decodeLinks } from "./links.ts";
import { attribute, nested, text, u32 } from "./message.ts";

describe("decodeLinks", () => {
  it("joins links with their addresses and counters", () => {
    const header = Buffer.alloc(16);
    header.writeInt32LE(54, 4);
    header.writeUInt32LE(0x11043, 8);
    const stats = Buffer.from(BigUint64Array.of(1n, 2n, 300n, 400n, 5n, 6n, 7n, 8n, 9n).buffer);
    const link = Buffer.concat([
      header,
      text(3, "vb0"),
      u32(4, 1400),
      u32(10, 53),
      attribute(1, Buffer.from("02420a000001", "hex")),
      nested(18, text(1, "veth")),
      attribute(23, stats),
    ]);
    const address = (index: number, family: number, length: number, bytes: number[]) =>
      Buffer.concat([Buffer.of(family, length, 0, 0, index, 0, 0, 0), attribute(1, Uint8Array.from(bytes))]);
    const message = (body: Buffer) => ({ type: 0, flags: 0, sequence: 1, body });

    expect(
      decodeLinks(
        [message(link)],
        [
          message(address(54, 2, 24, [10, 0, 0, 1])),
          message(address(54, 10, 64, [0xfe, 0x80, ...Array<number>(13).fill(0), 1])),
          message(address(1, 2, 8, [127, 0, 0, 1])),
        ],
      ),
    ).toEqual([
      {
        index: 54,
        name: "vb0",
        kind: "veth",
        mtu: 1400,
        up: true,
        mac: "02:42:0a:00:00:01",
        master: 53,
        addresses: ["10.0.0.1/24", "fe80::1/64"],
        rxPackets: 1,
        txPackets: 2,
        rxBytes: 300,
        txBytes: 400,
        rxErrors: 5,
        txErrors: 6,
        rxDropped: 7,
        txDropped: 8,
      },
    ]);
  });
});

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  attribute,
  attributeList,
  attributesOf,
  decodeMessages,
  encodeMessage,
  nested,
  text,
  textOf,
  u32,
} from "./message.ts";

describe("netlink messages", () => {
  it("have a header with length, type, flags and sequence, and are padded to 4 bytes", () => {
    const bytes = encodeMessage({ type: 16, flags: 0x605, body: Buffer.from([1, 2, 3]) }, 7);
    expect(bytes.toString("hex")).toBe("1300000010000506070000000000000001020300");
  });

  it("come back as they were sent, several in a datagram", () => {
    const message = fc.record({ type: fc.nat(0xffff), flags: fc.nat(0xffff), body: fc.uint8Array({ maxLength: 40 }) });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), (messages) => {
        const sent = messages.map(({ type, flags, body }) => ({ type, flags, body: Buffer.from(body) }));
        const datagram = Buffer.concat(sent.map((each, i) => encodeMessage(each, i)));
        expect([...decodeMessages(datagram)]).toEqual(sent.map((each, sequence) => ({ ...each, sequence })));
      }),
    );
  });

  it("that claim more than the datagram holds are refused", () => {
    const bytes = encodeMessage({ type: 1, flags: 0, body: Buffer.alloc(8) }, 1);
    bytes.writeUInt32LE(100, 0);
    expect(() => [...decodeMessages(bytes)]).toThrow(/100 bytes/);
  });
});

describe("attributes", () => {
  it("are length, type, payload and padding; nested ones are marked", () => {
    expect(text(3, "lo").toString("hex")).toBe("070003006c6f0000");
    expect(nested(18, u32(1, 5)).toString("hex")).toBe("0c0012800800010005000000");
  });

  it("come back by type, in order", () => {
    const payload = fc.tuple(fc.integer({ min: 1, max: 0x3fff }), fc.uint8Array({ maxLength: 30 }));
    fc.assert(
      fc.property(fc.array(payload, { maxLength: 6 }), (all) => {
        const bytes = Buffer.concat([Buffer.alloc(16), ...all.map(([type, value]) => attribute(type, value))]);
        expect([...attributeList(bytes, 16)]).toEqual(all.map(([type, value]) => [type, Buffer.from(value)]));
      }),
    );
  });

  it("end quietly where a broken one begins", () => {
    const bytes = Buffer.concat([u32(1, 1), Buffer.from("ffff0200", "hex")]);
    expect([...attributesOf(bytes).keys()]).toEqual([1]);
  });

  it("hold text up to the NUL, or to their end", () => {
    expect(textOf(Buffer.from("eth0\0\0"))).toBe("eth0");
    expect(textOf(Buffer.from("eth0"))).toBe("eth0");
    expect(textOf(undefined)).toBe("");
  });
});

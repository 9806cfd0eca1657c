import { describe, expect, it } from "vitest";
import { decodeWaitStatus } from "./linux-processes.ts";

describe("decodeWaitStatus", () => {
  it.each([
    [0x0000, { code: 0, signal: 0 }],
    [0x7f00, { code: 127, signal: 0 }],
    [0xff00, { code: 255, signal: 0 }],
    [0x0009, { code: 0, signal: 9 }],
    // With a core dump.
    [0x008b, { code: 0, signal: 11 }],
  ])("reads %i", (status, expected) => {
    expect(decodeWaitStatus(status)).toEqual(expected);
  });
});

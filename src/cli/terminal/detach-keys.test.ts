import { describe, expect, it } from "vitest";
import { DetachKeys } from "./detach-keys.ts";

const feed = (keys: DetachKeys, text: string) => {
  const { forward, detached } = keys.feed(Buffer.from(text, "latin1"));
  return [forward.toString("latin1"), detached];
};

describe("DetachKeys", () => {
  it("finds the keys within one chunk and across chunks, and keeps them from the process", () => {
    expect(feed(new DetachKeys(), "ls\n\x10\x11")).toEqual(["ls\n", true]);
    const keys = new DetachKeys();
    expect(feed(keys, "a\x10")).toEqual(["a", false]);
    expect(feed(keys, "\x11")).toEqual(["", true]);
  });

  it("passes on what only began like them", () => {
    const keys = new DetachKeys();
    expect(feed(keys, "\x10")).toEqual(["", false]);
    expect(feed(keys, "x")).toEqual(["\x10x", false]);
    expect(feed(keys, "\x10\x10\x11")).toEqual(["\x10", true]);
  });

  it("takes other keys, and refuses nonsense", () => {
    expect(feed(new DetachKeys("q"), "aq")).toEqual(["a", true]);
    expect(feed(new DetachKeys("ctrl-@,ctrl-["), "\x00\x1b")).toEqual(["", true]);
    expect(() => new DetachKeys("ctrl-99")).toThrow(/--detach-keys/);
  });
});

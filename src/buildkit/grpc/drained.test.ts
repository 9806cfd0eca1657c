import { EventEmitter } from "node:events";
import { expect, it } from "vitest";
import { drained } from "./drained.ts";

it.each(["drain", "close"])("waits for %s, and leaves no listener", async (event) => {
  const stream = new EventEmitter();
  const waiting = drained(stream);
  expect(stream.listenerCount(event)).toBe(1);
  stream.emit(event);
  await waiting;
  expect(stream.eventNames()).toEqual([]);
});

import { expect, it } from "vitest";
import { signalNumber } from "./signals.ts";

it("knows signals by every name that Docker takes", () => {
  expect(["SIGTERM", "term", "15", "KILL", "SIGRTMIN", "rtmin+3", "SIGRTMAX-1", "SIGRTMAX"].map(signalNumber)).toEqual([
    15, 15, 15, 9, 34, 37, 63, 64,
  ]);
  expect(["", "FOO", "0", "65", "-1", "SIGRTMIN-1", "SIGRTMAX+1", "SIGRTMIN+31"].map(signalNumber)).toEqual(
    Array.from({ length: 8 }, () => undefined),
  );
});

import { expect, it } from "vitest";
import { findLockHolder } from "./lock.ts";

it("finds who holds the flock on an inode", () => {
  const locks = [
    "1: POSIX  ADVISORY  WRITE 11 fe:00:5678 0 EOF",
    "2: FLOCK  ADVISORY  WRITE 22 fe:00:56789 0 EOF",
    "3: FLOCK  ADVISORY  WRITE 33 fe:00:5678 0 EOF",
    "3: -> FLOCK  ADVISORY  WRITE 44 fe:00:5678 0 EOF",
    "",
  ].join("\n");
  expect(findLockHolder(locks, 5678)).toBe(33);
  expect(findLockHolder(locks, 1)).toBeUndefined();
});

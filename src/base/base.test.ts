import { describe, expect, it } from "vitest";
import { backoffDelay } from "./backoff.ts";
import { BerthError, defineErrors, isBerthError } from "./errors.ts";
import { newId, shortId } from "./ids.ts";
import { KeyedMutex } from "./keyed-mutex.ts";
import { background, cleanupContext, withTimeout } from "./op-context.ts";
import { Reverter } from "./reverter.ts";

describe("the error catalogue", () => {
  const errors = defineErrors({
    CAKE_MISSING: {
      status: 404,
      message: ({ cake }: { cake: string }) => `no such cake: ${cake}`,
      hint: ({ cake }) => `bake ${cake} first`,
    },
  });

  it("makes errors that name the thing and the way out, and keep the cause", () => {
    const cause = new Error("oven");
    const error = errors.CAKE_MISSING({ cake: "sponge" }, { cause });
    expect(error).toBeInstanceOf(BerthError);
    expect(error).toMatchObject({
      code: "CAKE_MISSING",
      status: 404,
      message: "no such cake: sponge",
      hint: "bake sponge first",
    });
    expect(error.cause).toBe(cause);
  });

  it("tells errors apart by code", () => {
    expect(isBerthError(errors.CAKE_MISSING({ cake: "x" }), "CAKE_MISSING")).toBe(true);
    expect(isBerthError(errors.CAKE_MISSING({ cake: "x" }), "OTHER")).toBe(false);
    expect(isBerthError(new Error("x"))).toBe(false);
  });
});

describe("Reverter", () => {
  it("undoes in reverse, goes on after a failure, and gives each step a live context", async () => {
    const done: string[] = [];
    const ctx = withTimeout(background(), 1);
    await new Promise((resolve) => setTimeout(resolve, 5));
    {
      await using reverter = new Reverter(ctx);
      reverter.add("first", (undo) => void done.push(`first ${undo.signal.aborted}`));
      reverter.add("second", () => {
        throw new Error("stuck");
      });
      reverter.add("third", async () => void done.push("third"));
    }
    expect(ctx.signal.aborted).toBe(true);
    expect(done).toEqual(["third", "first false"]);
  });

  it("undoes nothing once committed", async () => {
    const done: string[] = [];
    {
      await using reverter = new Reverter(background());
      reverter.add("step", () => void done.push("step"));
      reverter.commit();
    }
    expect(done).toEqual([]);
  });
});

describe("KeyedMutex", () => {
  it("lets one in at a time for each key, in order, also after a failure", async () => {
    const mutex = new KeyedMutex();
    const seen: string[] = [];
    const slow = mutex.run("a", async () => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      seen.push("a1");
      throw new Error("no");
    });
    const after = mutex.run("a", async () => void seen.push("a2"));
    const other = mutex.run("b", async () => void seen.push("b"));
    await expect(slow).rejects.toThrow("no");
    await Promise.all([after, other]);
    expect(seen).toEqual(["b", "a1", "a2"]);
  });
});

it("gives cleanup a signal that the failed operation did not abort", () => {
  const controller = new AbortController();
  controller.abort();
  expect(cleanupContext({ ...background(), signal: controller.signal }).signal.aborted).toBe(false);
});

it("grows delays up to their bound", () => {
  const policy = { initialMs: 100, maxMs: 1000, factor: 2 };
  expect([0, 1, 2, 3, 9].map((attempt) => backoffDelay(policy, attempt))).toEqual([100, 200, 400, 800, 1000]);
});

it("makes ids that no tool takes for a number, and shortens them", () => {
  expect(newId()).toMatch(/^[0-9a-f]{64}$/);
  expect(shortId("sha256:0123456789abcdef")).toBe("0123456789ab");
});

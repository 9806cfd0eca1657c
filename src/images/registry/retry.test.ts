import { expect, test } from "vitest";
import { background } from "../../base/op-context.ts";
import { parseRetryAfter, type Retries, TransientFailure, withRetries } from "./retry.ts";

function recordingRetries(attempts: number): { readonly retries: Retries; readonly pauses: number[] } {
  const pauses: number[] = [];
  const clock = { now: () => 0, sleep: async (ms: number) => void pauses.push(ms) };
  const backoff = { initialMs: 100, maxMs: 500, factor: 2 };
  return { retries: { policy: { attempts, backoff, maxRetryAfterMs: 2_000 }, clock }, pauses };
}

const failure = (retryAfterMs?: number) =>
  new TransientFailure((attempts) => new Error(`gave up after ${attempts}`), "down", retryAfterMs);

test("pauses grow up to their limit, and it gives up in the end", async () => {
  const { retries, pauses } = recordingRetries(6);
  const work = async () => {
    throw failure();
  };
  await expect(withRetries(background(), retries, work)).rejects.toThrow("gave up after 6");
  expect(pauses).toEqual([100, 200, 400, 500, 500]);
});

test("the registry's wish for a pause is honoured within bounds", async () => {
  const { retries, pauses } = recordingRetries(4);
  const wishes = [1_000, 60_000, 0];
  const work = async () => {
    const wish = wishes.shift();
    if (wish !== undefined) throw failure(wish);
    return "done";
  };
  expect(await withRetries(background(), retries, work)).toBe("done");
  expect(pauses).toEqual([1_000, 2_000, 400]);
});

test("progress starts the count again, other errors end at once", async () => {
  const { retries, pauses } = recordingRetries(2);
  let calls = 0;
  const work = async (restart: () => void) => {
    calls += 1;
    if (calls === 10) throw new Error("broken");
    restart();
    throw failure();
  };
  await expect(withRetries(background(), retries, work)).rejects.toThrow("broken");
  expect(pauses).toHaveLength(9);
});

test("Retry-After in seconds and as a date", () => {
  expect(parseRetryAfter("3", 0)).toBe(3_000);
  expect(parseRetryAfter("Thu, 01 Jan 1970 00:00:10 GMT", 4_000)).toBe(6_000);
  expect(parseRetryAfter("soon", 0)).toBeUndefined();
  expect(parseRetryAfter(undefined, 0)).toBeUndefined();
});

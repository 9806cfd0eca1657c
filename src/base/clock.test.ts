import { expect, test } from "vitest";
import { systemClock } from "./clock.ts";

test("a sleep ends with its time, or with the signal's own reason", async () => {
  await systemClock.sleep(1);
  await systemClock.sleep(1, new AbortController().signal);
  const reason = new Error("enough");
  const abort = new AbortController();
  const sleeping = systemClock.sleep(60_000, abort.signal);
  abort.abort(reason);
  await expect(sleeping).rejects.toBe(reason);
  await expect(systemClock.sleep(60_000, abort.signal)).rejects.toBe(reason);
});

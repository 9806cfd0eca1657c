import { describe, expect, it } from "vitest";
import { Turns } from "./turns.ts";

describe("Turns", () => {
  const { signal } = new AbortController();

  it("lets so many in, and the others in order", async () => {
    const turns = new Turns(2);
    const [first, second] = [await turns.take(signal), await turns.take(signal)];
    const order: string[] = [];
    const third = turns.take(signal).then((turn) => (order.push("third"), turn));
    const fourth = turns.take(signal).then((turn) => (order.push("fourth"), turn));
    await Promise.resolve();
    expect(order).toEqual([]);
    second[Symbol.dispose]();
    second[Symbol.dispose]();
    (await third)[Symbol.dispose]();
    await fourth;
    expect(order).toEqual(["third", "fourth"]);
    first[Symbol.dispose]();
    await turns.take(signal);
  });

  it("waits no longer than the operation lasts, and loses no turn by it", async () => {
    const turns = new Turns(1);
    const only = await turns.take(signal);
    const abort = new AbortController();
    const waiting = turns.take(abort.signal);
    abort.abort(new Error("client gone"));
    await expect(waiting).rejects.toThrow("client gone");
    await expect(turns.take(abort.signal)).rejects.toThrow("client gone");
    only[Symbol.dispose]();
    await turns.take(signal);
  });
});

import { expect, it } from "vitest";
import { Gate } from "./gate.ts";

it("lets no more in than it has places, and the others in order", async () => {
  const gate = new Gate(2);
  let inside = 0;
  let most = 0;
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 7 }, async (_, i) => {
      using _place = await gate.enter();
      inside += 1;
      most = Math.max(most, inside);
      order.push(i);
      await new Promise((resolve) => setTimeout(resolve, 1));
      inside -= 1;
    }),
  );
  expect(most).toBe(2);
  expect(order).toEqual([0, 1, 2, 3, 4, 5, 6]);
  using _first = await gate.enter();
  using _second = await gate.enter();
});

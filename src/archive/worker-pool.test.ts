import { expect, it, vi } from "vitest";
import { background } from "../base/op-context.ts";
import { WorkerPool } from "./worker-pool.ts";

vi.mock("./archive-thread.ts", () => ({
  ArchiveThread: function unavailable() {
    throw new Error("no thread is left");
  },
}));

it("gives a turn back when no thread can be started for it", async () => {
  await using pool = new WorkerPool(1);
  // Two have a turn at a time.
  for (let call = 0; call < 4; call++)
    await expect(pool.take(background(), "stat")).rejects.toThrow("no thread is left");
});

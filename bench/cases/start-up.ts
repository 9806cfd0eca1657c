import type { BenchCase } from "../case.ts";
import { duration } from "../metric.ts";

const afterKill = duration("startup", "engine start after a kill, nothing running, until a ping is answered");

export const startUp: BenchCase = {
  name: "startup",
  about: "the engine's own start after a kill (Berth only: the peers are left running)",
  berthOnly: true,
  async turn({ record }, { berth }) {
    await berth.crash();
    record(afterKill, await berth.boot());
  },
};

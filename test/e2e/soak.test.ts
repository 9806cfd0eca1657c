/**
 * Two minutes of the random walk (see `test/soak/soak.ts`), each time another one: the seed is printed, and `npm run soak -- --seed S`
 * walks it again. SOAK_SEED and SOAK_MINUTES choose others.
 */
import { expect, it } from "vitest";
import { allTroubles } from "../soak/rounds.ts";
import { soak } from "../soak/soak.ts";

const seed = Number(process.env["SOAK_SEED"] ?? Math.floor(Date.now() / 1000));
const minutes = Number(process.env["SOAK_MINUTES"] ?? 2);

it(`survives kills, failing runtimes, a full disk and a dead registry (seed ${seed})`, {
  timeout: (minutes + 8) * 60_000,
}, async () => {
  const { signal } = new AbortController();
  const lines: string[] = [];
  const { faults, kills } = await soak({
    minutes,
    seed,
    clients: 4,
    troubles: allTroubles,
    keep: false,
    signal,
    log: (line) => void lines.push(line),
  });
  expect(faults, `npm run soak -- --minutes ${minutes} --seed ${seed}\n${lines.join("\n")}`).toEqual([]);
  expect(kills).toBeGreaterThan(2);
});

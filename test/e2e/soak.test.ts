/**
 * Two minutes of the random walk (see `test/soak/soak.ts`), each time another one: the seed is printed, and `npm run soak -- --seed S`
 * walks it again. SOAK_SEED and SOAK_MINUTES choose others.
 */
import { expect, it } from "vitest";
import { soak } from "../soak/soak.ts";

const seed = Number(process.env["SOAK_SEED"] ?? Math.floor(Date.now() / 1000));
// Runtimes that fail are left to `npm run soak`, which still finds something in them now and then (seeds 211, 212).
const troubles = ["registry", "disk"] as const;
const minutes = Number(process.env["SOAK_MINUTES"] ?? 2);

it(`survives kills, a full disk and a dead registry (seed ${seed})`, {
  timeout: (minutes + 8) * 60_000,
}, async () => {
  const { signal } = new AbortController();
  const lines: string[] = [];
  const { faults, kills } = await soak({
    minutes,
    seed,
    clients: 4,
    troubles,
    keep: false,
    signal,
    log: (line) => void lines.push(line),
  });
  expect(
    faults,
    `npm run soak -- --minutes ${minutes} --seed ${seed} --troubles ${troubles.join(",")}\n${lines.join("\n")}`,
  ).toEqual([]);
  expect(kills).toBeGreaterThan(2);
});

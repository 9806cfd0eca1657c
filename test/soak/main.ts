/** `npm run soak -- --minutes N --seed S [--clients N] [--troubles runtime,registry,disk] [--keep]`: see `soak.ts`. Ends with 1 and the seed when something is found. */
import { parseArgs } from "node:util";
import { allTroubles, type Trouble } from "./rounds.ts";
import { soak } from "./soak.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "2" },
    seed: { type: "string", default: String(Math.floor(Date.now() / 1000)) },
    clients: { type: "string", default: "4" },
    troubles: { type: "string", default: allTroubles.join(",") },
    keep: { type: "boolean", default: false },
  },
});
const ending = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => ending.abort());

const log = (line: string) => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);
log(`seed ${values.seed}, ${values.minutes} minutes, ${values.clients} clients`);
const { faults, rounds, kills, steps } = await soak({
  minutes: Number(values.minutes),
  seed: Number(values.seed),
  clients: Number(values.clients),
  troubles: chosenTroubles(values.troubles),
  keep: values.keep,
  signal: ending.signal,
  log,
});
if (faults.length === 0) log(`clean: ${rounds} rounds, ${kills} kills, ${steps} steps, seed ${values.seed}`);
else {
  log(`FOUND ${faults.length} faults with --seed ${values.seed} --clients ${values.clients}`);
  process.exitCode = 1;
}

/** "" is none: only the engine is killed. */
function chosenTroubles(text: string): readonly Trouble[] {
  const words = text.split(",").filter((word) => word !== "");
  const unknown = words.filter((word) => !allTroubles.some((trouble) => trouble === word));
  if (unknown.length > 0)
    throw new Error(`no such trouble: ${unknown.join(", ")}; there are ${allTroubles.join(", ")}`);
  return allTroubles.filter((trouble) => words.includes(trouble));
}

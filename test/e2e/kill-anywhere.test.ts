/**
 * `kill -9` of the engine at random moments of what several clients do: nothing that was acknowledged is lost, nothing half made
 * stays, names and ports can be used again. KILL_SEED repeats a run's choices (not its timing), KILL_SECONDS makes it longer.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { KillModelClient, seededRandom } from "../support/kill-model.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { ownershipFaults } from "../support/ownership.ts";
import { runCommand } from "../support/run-command.ts";

const seed = Number(process.env["KILL_SEED"] ?? 1);
const seconds = Number(process.env["KILL_SECONDS"] ?? 30);
const image = "berth-kill:1";
let engine: EngineProcess;

beforeAll(async () => {
  engine = await EngineProcess.start();
  const input = await busyboxArchive({ tags: [image] });
  await runCommand("docker", ["load"], { env: { DOCKER_HOST: engine.host }, input });
});
afterAll(async () => {
  await engine.remove();
  await assertNothingLeft(engine);
});

it("survives being killed at any moment", { timeout: (seconds + 120) * 1000 }, async () => {
  const random = seededRandom(seed);
  const clients = Array.from(
    { length: 4 },
    (_, index) => new KillModelClient({ engine, index, image, seed, firstPort: 24_700 }),
  );
  const deadline = Date.now() + seconds * 1000;
  const faults: string[] = [];
  let kills = 0;
  for (; Date.now() < deadline && faults.length === 0; kills++) {
    const working = clients.map((client) => client.run());
    await new Promise((resolve) => setTimeout(resolve, 20 + random() * 1500));
    await (random() < 0.2 ? engine.stop() : engine.crash());
    await Promise.all(working);
    await engine.boot();
    for (const client of clients) await client.verify();
    faults.push(...(await ownershipFaults(engine)), ...clients.flatMap(({ complaints }) => complaints));
  }
  const answered = clients.reduce((sum, client) => sum + client.answered, 0);
  expect(faults, `with KILL_SEED=${seed}, after ${kills} kills and ${answered} answers`).toEqual([]);
  expect(kills).toBeGreaterThan(2);
});

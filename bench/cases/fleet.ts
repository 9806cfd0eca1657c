/** Many containers at once: what a test suite or a deployment does. */
import { type BenchCase, time, type Turn } from "../case.ts";
import { createContainer, inParallel, killAtStop, removeContainer, sleeper, startContainer } from "../containers.ts";
import { type MeasuredEngine, smallImage } from "../measured-engine.ts";
import { duration } from "../metric.ts";

const size = 50;
const width = 8;
const startByClient = duration("fleet.start", `${size} containers by \`run -d\`, ${width} at a time`, 0.4);
const removeByClient = duration("fleet.rm", `\`rm -f\` of ${size} in one call`, 0.4);
const startAtApi = duration("fleet.start.api", `${size} containers created and started, ${width} at a time, raw API`);
const removeAtApi = duration("fleet.rm.api", `${size} removed by force, ${width} at a time, raw API`);

export const fleet: BenchCase = {
  name: "fleet",
  about: `${size} containers started ${width} at a time, and removed`,
  share: 1 / 3,
  async turn(turn) {
    await byClient(turn);
    await atApi(turn);
  },
};

async function byClient({ engine, record }: Turn): Promise<void> {
  const names = Array.from({ length: size }, () => engine.nextName());
  const started = await time(
    async () =>
      await inParallel(names, width, async (name) => {
        await engine.timeDocker("run", "-d", "--name", name, ...killAtStop, smallImage, ...sleeper);
      }),
  );
  await assertRunning(engine, names);
  record(startByClient, started);
  record(removeByClient, await engine.timeDocker("rm", "-f", ...names));
}

async function atApi({ engine, record }: Turn): Promise<void> {
  const names = Array.from({ length: size }, () => engine.nextName());
  const started = await time(
    async () =>
      await inParallel(names, width, async (name) => {
        await startContainer(engine, await createContainer(engine, { name, command: sleeper }));
      }),
  );
  await assertRunning(engine, names);
  record(startAtApi, started);
  record(removeAtApi, await time(async () => await inParallel(names, width, (name) => removeContainer(engine, name))));
}

/** A container that ended at once would make its engine look fast. */
async function assertRunning(engine: MeasuredEngine, names: readonly string[]): Promise<void> {
  const running = await engine.api.call<readonly { readonly Names: readonly string[] }[]>("GET", "/containers/json");
  const found = new Set(running.flatMap(({ Names }) => Names));
  const missing = names.filter((name) => !found.has(`/${name}`));
  if (missing.length > 0) throw new Error(`${missing.length} of ${names.length} containers do not run`);
}

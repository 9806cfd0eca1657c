/** The shortest container there is, made, run and removed. */
import { type BenchCase, time } from "../case.ts";
import { createContainer, nextExit, removeContainer, startContainer } from "../containers.ts";
import { type MeasuredEngine, smallImage } from "../measured-engine.ts";
import { duration } from "../metric.ts";

const networks = [
  {
    network: "bridge",
    client: duration("run.bridge", "`run --rm`, bridge", 0.3),
    api: duration("run.bridge.api", "create, start, wait, remove; bridge; raw API"),
  },
  {
    network: "none",
    client: duration("run.none", "`run --rm --network none`", 0.35),
    api: duration("run.none.api", "create, start, wait, remove; no network; raw API"),
  },
] as const;
const clientAlone = duration("run.client", "the client alone (`docker --version`)");

export const run: BenchCase = {
  name: "run",
  about: "run --rm true with a bridge and without network, by the client and at the API",
  warmUps: 2,
  async turn({ engine, record }) {
    for (const { network, client, api } of networks) {
      record(
        client,
        await engine.timeDocker("run", "--rm", "--name", engine.nextName(), "--network", network, smallImage, "true"),
      );
      record(api, await time(async () => await cycle(engine, network)));
    }
    record(clientAlone, await engine.timeDocker("--version"));
  },
};

async function cycle(engine: MeasuredEngine, network: "bridge" | "none"): Promise<void> {
  const id = await createContainer(engine, { command: ["true"], network });
  const exited = nextExit(engine, id);
  await startContainer(engine, id);
  await exited;
  await removeContainer(engine, id);
}

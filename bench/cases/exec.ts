import { type BenchCase, time } from "../case.ts";
import { createContainer, execute, sleeper, startContainer } from "../containers.ts";
import { duration } from "../metric.ts";

const byClient = duration("exec", "`exec` true", 0.5);
const atApi = duration("exec.api", "exec true, raw API");

/** The running container of each engine, by the engine's prefix. */
const containers = new Map<string, string>();

export const exec: BenchCase = {
  name: "exec",
  about: "a command in a running container",
  warmUps: 2,
  async prepare(engine) {
    const id = await createContainer(engine, { command: sleeper });
    await startContainer(engine, id);
    containers.set(engine.prefix, id);
    return undefined;
  },
  async turn({ engine, record }) {
    const id = containers.get(engine.prefix) ?? "";
    record(byClient, await engine.timeDocker("exec", id, "true"));
    record(atApi, await time(async () => await execute(engine, id, ["true"])));
  },
};

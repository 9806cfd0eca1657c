/** Create, start, stop, kill and remove, each by itself. */
import { type BenchCase, time, type Turn } from "../case.ts";
import { createContainer, killAtStop, removeContainer, sleeper, startContainer } from "../containers.ts";
import { smallImage } from "../measured-engine.ts";
import { duration } from "../metric.ts";

const client = {
  create: duration("create", "`create`"),
  start: duration("start", "`start`", 0.5),
  stop: duration("stop", "`stop` (stop signal KILL)", 0.5),
  kill: duration("kill", "`kill`"),
  remove: duration("rm", "`rm`", 0.5),
};
const api = {
  ping: duration("ping.api", "ping, raw API"),
  create: duration("create.api", "create, raw API"),
  start: duration("start.api", "start, raw API"),
  stop: duration("stop.api", "stop, raw API"),
  remove: duration("rm.api", "remove, raw API"),
};

export const life: BenchCase = {
  name: "life",
  about: "create, start, stop, kill and rm, by the client and at the API",
  async turn(turn) {
    await byClient(turn);
    await atApi(turn);
  },
};

async function byClient({ engine, record }: Turn): Promise<void> {
  const name = engine.nextName();
  record(client.create, await engine.timeDocker("create", "--name", name, ...killAtStop, smallImage, ...sleeper));
  record(client.start, await engine.timeDocker("start", name));
  record(client.stop, await engine.timeDocker("stop", name));
  await startContainer(engine, name);
  record(client.kill, await engine.timeDocker("kill", name));
  // After a kill the engine may still be taking the container's end in: what `stop` waits for, so that `rm` is timed alone.
  await engine.api.call("POST", `/containers/${name}/wait`);
  record(client.remove, await engine.timeDocker("rm", name));
}

async function atApi({ engine, record }: Turn): Promise<void> {
  record(api.ping, await time(async () => await engine.api.call("HEAD", "/_ping")));
  let id = "";
  record(
    api.create,
    await time(async () => {
      id = await createContainer(engine, { command: sleeper });
    }),
  );
  record(api.start, await time(async () => await startContainer(engine, id)));
  record(api.stop, await time(async () => await engine.api.call("POST", `/containers/${id}/stop`)));
  record(api.remove, await time(async () => await removeContainer(engine, id)));
}

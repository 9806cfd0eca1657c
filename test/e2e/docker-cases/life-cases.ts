/** A container's life: create to rm, signals, pauses, policies, health. */
import { brief, errorOnly, image, inspect, ready, running, sh, words, type DockerCase } from "./docker-case.ts";

export const lifeCases: readonly DockerCase[] = [
  {
    name: "create, start, wait, logs, inspect, rm",
    effect: async (docker) => {
      const created = await docker.run([...words(`create --name case ${image}`), ...sh("echo hi; exit 3")]);
      const before = await inspect(docker, "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}}");
      const started = brief(await docker.run(words("start case")));
      const waited = brief(await docker.run(words("wait case")));
      const logs = brief(await docker.run(words("logs case")));
      const after = await inspect(
        docker,
        "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}} {{.State.Error}} {{.RestartCount}}",
      );
      const removed = brief(await docker.run(words("rm case")));
      return {
        created: created.code,
        before,
        started,
        waited,
        logs,
        after,
        removed,
        gone: errorOnly(await docker.run(words("inspect case"))),
      };
    },
  },
  running(
    "stop with a signal that is heeded",
    "--stop-signal TERM",
    async (docker) => {
      await ready(docker);
      return {
        stop: brief(await docker.run(words("stop -t 20 case"))),
        state: await inspect(docker, "{{.State.Status}} {{.State.ExitCode}}"),
      };
    },
    sh("trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"),
  ),
  running("stop kills after its time", "--stop-signal TERM", async (docker) => ({
    stop: brief(await docker.run(words("stop -t 1 case"))),
    state: await inspect(docker, "{{.State.Status}} {{.State.ExitCode}}"),
  })),
  running(
    "kill with a signal",
    "",
    async (docker) => {
      await ready(docker);
      return {
        kill: brief(await docker.run(words("kill -s USR1 case"))),
        wait: brief(await docker.run(words("wait case"))),
        again: errorOnly(await docker.run(words("kill case"))),
      };
    },
    sh("trap 'echo usr1; exit 9' USR1; echo ready; while :; do sleep 0.1; done"),
  ),
  running("restart", "", async (docker) => {
    const before = await inspect(docker, "{{.State.StartedAt}}");
    const restart = brief(await docker.run(words("restart -t 0 case")));
    return {
      restart,
      changed: before !== (await inspect(docker, "{{.State.StartedAt}}")),
      status: await inspect(docker, "{{.State.Status}}"),
    };
  }),
  running("pause and unpause", "", async (docker) => ({
    pause: brief(await docker.run(words("pause case"))),
    status: await inspect(docker, "{{.State.Status}} {{.State.Paused}} {{.State.Running}}"),
    exec: errorOnly(await docker.run(words("exec case true"))),
    again: errorOnly(await docker.run(words("pause case"))),
    unpause: brief(await docker.run(words("unpause case"))),
    after: await inspect(docker, "{{.State.Status}}"),
  })),
  running("rename", "", async (docker) => {
    const rename = brief(await docker.run(words("rename case case2")));
    const name = await inspect(docker, "{{.Name}}", "case2");
    await docker.run(words("rename case2 case"));
    return { rename, name };
  }),
  running("name conflict", "", async (docker) => errorOnly(await docker.run(words(`create --name case ${image}`)))),
  running("rm of a running container", "", async (docker) => errorOnly(await docker.run(words("rm case")))),
  running("ps with filters and formats", "--label shape=round", async (docker) => ({
    row: brief(
      await docker.run([
        "ps",
        "--filter",
        "name=case",
        "--format",
        "{{.Names}} {{.Image}} {{.State}} {{.Command}} {{.Ports}}",
      ]),
    ),
    label: brief(await docker.run(["ps", "-q", "--filter", "label=shape=round"])),
    none: brief(await docker.run(["ps", "-q", "--filter", "label=shape=square"])),
    ancestor: brief(await docker.run(["ps", "--filter", `ancestor=${image}`, "--format", "{{.Names}}"])),
    exited: brief(
      await docker.run(["ps", "-a", "--filter", "name=case", "--filter", "status=exited", "--format", "{{.Names}}"]),
    ),
    bad: errorOnly(await docker.run(["ps", "--filter", "nosuch=1"])),
  })),
  {
    name: "restart policy on failure",
    effect: async (docker) => {
      await docker.run([...words(`run -d --name case --restart on-failure:2 ${image}`), ...sh("exit 4")]);
      for (
        let tries = 0;
        tries < 100 && (await inspect(docker, "{{.State.Status}} {{.RestartCount}}")) !== "exited 2";
        tries++
      )
        await new Promise((resolve) => setTimeout(resolve, 100));
      const state = await inspect(
        docker,
        "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}} {{json .HostConfig.RestartPolicy}}",
      );
      await docker.run(words("rm -f case"));
      return state;
    },
  },
  {
    name: "health check",
    effect: async (docker) => {
      await docker.run([
        ...words(`run -d --name case --stop-signal KILL --health-cmd`),
        "test -e /ok && echo fine",
        ...words(`--health-interval 300ms --health-retries 2 ${image} sleep 1000`),
      ]);
      const until = async (wanted: string) => {
        for (let tries = 0; tries < 100; tries++) {
          if ((await inspect(docker, "{{.State.Health.Status}}")) === wanted) return wanted;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        return `never ${wanted}`;
      };
      const first = await until("unhealthy");
      await docker.run(words("exec case touch /ok"));
      const second = await until("healthy");
      const output = await inspect(docker, "{{(index .State.Health.Log 0).ExitCode}} {{.State.Health.FailingStreak}}");
      const listed = (await docker.run(["ps", "--filter", "health=healthy", "--format", "{{.Names}}"])).stdout.trim();
      await docker.run(words("rm -f case"));
      return { first, second, output: output.split(" ")[1], listed };
    },
  },
  running("update limits and policy", "-m 64m", async (docker) => ({
    update: brief(
      await docker.run(words("update -m 128m --memory-swap 256m --cpu-shares 512 --restart unless-stopped case")),
    ),
    now: await inspect(docker, "{{.HostConfig.Memory}} {{.HostConfig.CpuShares}} {{.HostConfig.RestartPolicy.Name}}"),
  })),
];

/** The engine as a whole. */
import { errorOnly, image, words, type DockerCase } from "./docker-case.ts";

export const systemCases: readonly DockerCase[] = [
  {
    name: "version and API version",
    effect: async (docker) =>
      (
        await docker.run([
          "version",
          "-f",
          "{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}} {{.Server.Arch}}",
        ])
      ).stdout.trim(),
  },
  {
    name: "info",
    effect: async (docker) =>
      (
        await docker.run([
          "info",
          "-f",
          "{{.OSType}} {{.Architecture}} {{.CgroupVersion}} {{json .Swarm.LocalNodeState}}",
        ])
      ).stdout.trim(),
  },
  {
    name: "events of a container's life",
    effect: async (docker) => {
      // Docker's times are whole seconds here: an event of the second before may slip in, so filter by the container's own name.
      const since = (Date.now() / 1000 - 1).toFixed(0);
      await docker.run(words(`run --rm --name case-events ${image} true`));
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { stdout } = await docker.run([
        "events",
        "--since",
        since,
        "--until",
        (Date.now() / 1000 + 1).toFixed(0),
        "--filter",
        "container=case-events",
        "--format",
        "{{.Type}} {{.Action}}",
      ]);
      return stdout.trim().split("\n").sort();
    },
  },
  {
    name: "system df",
    effect: async (docker) => (await docker.run(["system", "df", "--format", "{{.Type}}"])).stdout.trim().split("\n"),
  },
  {
    name: "container prune",
    effect: async (docker) => {
      await docker.run(words(`create --name case --label prune=me ${image}`));
      const { code, stdout } = await docker.run(words("container prune -f --filter label=prune=me"));
      return {
        code,
        deleted: /Deleted Containers:\n[0-9a-f]{64}/.test(stdout),
        reclaimed: /Total reclaimed space: /.test(stdout),
      };
    },
  },
  {
    name: "swarm is not there",
    effect: async (docker) => errorOnly(await docker.run(words("node ls"))),
  },
];

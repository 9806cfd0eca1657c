/** Images: names, inspection, archives. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brief, errorOnly, image, inspect, plain, refused, running, words, type DockerCase } from "./docker-case.ts";

export const imageCases: readonly DockerCase[] = [
  plain("images by format", "images --format", ["{{.Repository}}:{{.Tag}}"], image),
  {
    name: "image inspect",
    effect: async (docker) =>
      await inspect(
        docker,
        "{{json .RepoTags}} {{.Architecture}} {{.Os}} {{json .Config.Cmd}} {{json .Config.Env}} {{.RootFS.Type}} {{len .RootFS.Layers}}",
        image,
      ),
  },
  {
    name: "history",
    effect: async (docker) => brief(await docker.run(["history", "--format", "{{.CreatedBy}} {{.Comment}}", image])),
  },
  {
    name: "tag and rmi",
    effect: async (docker) => {
      const tagged = brief(await docker.run(words(`tag ${image} other.example:5000/a/b:c`)));
      const listed = brief(
        await docker.run(["images", "--format", "{{.Repository}}:{{.Tag}}", "other.example:5000/a/b"]),
      );
      const removed = brief(await docker.run(words("rmi other.example:5000/a/b:c")));
      return { tagged, listed, removed, missing: errorOnly(await docker.run(words("rmi nosuch:image"))) };
    },
  },
  refused("tag with a bad name", `tag ${image} UPPER:case`),
  refused("inspect of an unknown image", "image inspect nosuch:image"),
  running("rmi of a used image", "", async (docker) => {
    const { code, stderr } = await docker.run(words(`rmi ${image}`));
    return {
      code,
      conflict: /conflict: unable to (remove repository reference|delete).*(must force|must be forced)/.test(stderr),
    };
  }),
  {
    name: "save and load again",
    effect: async (docker) => {
      const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
      try {
        const file = join(directory, "saved.tar");
        await docker.run(words(`tag ${image} berth-saved:1`));
        const saved = await docker.run(["save", "-o", file, "berth-saved:1"]);
        await docker.run(words("rmi berth-saved:1"));
        const loaded = brief(await docker.run(["load", "-i", file]));
        await docker.run(words("rmi berth-saved:1"));
        return { saved: saved.code, loaded };
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  },
  {
    name: "load of nonsense",
    effect: async (docker) => (await docker.run(["load"], "this is no archive".repeat(100))).code,
  },
];

/** Volumes and binds. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brief, image, refused, sh, words, type DockerCase } from "./docker-case.ts";

export const volumeCases: readonly DockerCase[] = [
  {
    name: "named volumes with copy-up, use, refusal, removal",
    effect: async (docker) => {
      try {
        const created = brief(await docker.run(words("volume create --label k=v case-vol")));
        const wrote = brief(
          await docker.run([
            ...words(`run --rm -v case-vol:/etc ${image}`),
            ...sh("ls /etc/passwd && echo kept > /etc/mark"),
          ]),
        );
        const read = brief(await docker.run(words(`run --rm -v case-vol:/v:ro ${image} cat /v/mark`)));
        const readOnly = await docker.run(words(`run --rm -v case-vol:/v:ro ${image} touch /v/x`));
        const listed = brief(
          await docker.run(["volume", "ls", "--format", "{{.Name}} {{.Driver}}", "--filter", "label=k=v"]),
        );
        await docker.run(words(`create --name case -v case-vol:/v ${image}`));
        const busy = await docker.run(words("volume rm case-vol"));
        await docker.run(words("rm case"));
        const removed = brief(await docker.run(words("volume rm case-vol")));
        return {
          created,
          wrote,
          read,
          readOnly: readOnly.code,
          listed,
          busy: [busy.code, /volume is in use/.test(busy.stderr)],
          removed,
        };
      } finally {
        await docker.run(words("rm -f case"));
        await docker.run(words("volume rm -f case-vol"));
      }
    },
  },
  {
    name: "anonymous volumes go with rm -v, and with --rm",
    effect: async (docker) => {
      const count = async () =>
        (await docker.run(words("volume ls -q"))).stdout.split("\n").filter((line) => line !== "").length;
      const before = await count();
      await docker.run(words(`run --rm -v /anonymous ${image} true`));
      const afterRun = (await count()) - before;
      await docker.run(words(`create --name case -v /anonymous ${image}`));
      const during = (await count()) - before;
      await docker.run(words("rm -v case"));
      return { afterRun, during, after: (await count()) - before };
    },
  },
  {
    name: "binds, read-only and not",
    effect: async (docker) => {
      const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
      try {
        writeFileSync(join(directory, "in"), "from the host\n");
        const both = brief(
          await docker.run([...words(`run --rm -v ${directory}:/b ${image}`), ...sh("cat /b/in; echo back > /b/out")]),
        );
        const readOnly = await docker.run(
          words(`run --rm --mount type=bind,src=${directory},dst=/b,readonly ${image} touch /b/x`),
        );
        return { both, back: readFileSync(join(directory, "out"), "utf8"), readOnly: readOnly.code };
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  },
  refused("volume with a bad name", "volume create bad/name"),
  refused("volume inspect of none", "volume inspect nosuchvolume"),
];

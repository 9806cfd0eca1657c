/** Dockerfiles with the classic builder. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tarOf } from "../../../src/archive/fake/tar-builder.ts";
import { brief, image, inspect, scrub, words, type DockerCase } from "./docker-case.ts";

export const buildCases: readonly DockerCase[] = [
  {
    name: "build with the usual instructions, then from the cache",
    effect: async (docker) => {
      const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
      try {
        writeFileSync(join(directory, "file.txt"), "content\n");
        writeFileSync(join(directory, ".dockerignore"), "*.secret\n");
        writeFileSync(join(directory, "x.secret"), "hidden");
        writeFileSync(
          join(directory, "Dockerfile"),
          [
            `FROM ${image} AS base`,
            "ARG GREETING=hello",
            "ENV WHO=world GREETING=$GREETING",
            "WORKDIR /app",
            "COPY --chown=www . .",
            'RUN echo "$GREETING $WHO" > said && ls',
            "FROM base",
            "COPY --from=base /app/said /said",
            "USER www",
            "EXPOSE 8080/tcp",
            "LABEL a=b",
            'ENTRYPOINT ["cat"]',
            'CMD ["/said"]',
          ].join("\n"),
        );
        const build = await docker.run(["build", "-t", "berth-built:1", "--build-arg", "GREETING=hi", directory]);
        const steps = build.stdout.split("\n").filter((line) => line.startsWith("Step "));
        const ran = brief(await docker.run(words("run --rm berth-built:1")));
        const listing = brief(await docker.run(words("run --rm --entrypoint ls berth-built:1 -l /app")));
        const again = await docker.run(["build", "-t", "berth-built:1", "--build-arg", "GREETING=hi", directory]);
        const config = await inspect(
          docker,
          "{{json .Config.Entrypoint}} {{json .Config.Cmd}} {{.Config.User}} {{.Config.WorkingDir}} {{json .Config.Labels}} {{json .Config.ExposedPorts}}",
          "berth-built:1",
        );
        return {
          code: build.code,
          steps,
          ran,
          owners: listing.stdout.split("\n").map((line) =>
            line
              .split(/\s+/)
              .filter((_, index) => [0, 2, 8].includes(index))
              .join(" "),
          ),
          cached: again.stdout.split("\n").filter((line) => line.includes("Using cache")).length,
          config,
        };
      } finally {
        await docker.run(words("rmi -f berth-built:1"));
        rmSync(directory, { recursive: true });
      }
    },
  },
  {
    name: "build with a Dockerfile from outside of its context",
    effect: async (docker) => {
      const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
      try {
        writeFileSync(join(directory, "file.txt"), "content\n");
        const build = await docker.run(
          ["build", "--no-cache", "-t", "berth-built:2", "-f", "-", directory],
          `FROM ${image}\nCOPY file.txt /copied\nRUN ln -s copied /link`,
        );
        const ran = brief(await docker.run(words("run --rm berth-built:2 cat /link")));
        // Symbolic links count with what they hold.
        const history = await docker.run(words("history --human=false --format {{.Size}} berth-built:2"));
        return { code: build.code, ran, sizes: history.stdout.split("\n").slice(0, 2) };
      } finally {
        await docker.run(words("rmi -f berth-built:2"));
        rmSync(directory, { recursive: true });
      }
    },
  },
  {
    name: "build whose context is refused while it is being sent",
    effect: async (docker) => {
      const escape = tarOf({ name: "../escape", data: "x" }, { name: "large", data: Buffer.alloc(30_000_000) });
      const { code, stderr } = await docker.run(["build", "-"], escape);
      return { code, answered: stderr.includes("Error response from daemon: ") };
    },
  },
  {
    name: "build whose command fails",
    effect: async (docker) => {
      const { code, stderr } = await docker.run(["build", "-"], `FROM ${image}\nRUN exit 3\n`);
      return { code, error: scrub(stderr).split("\n").at(-1) };
    },
  },
  {
    name: "build of a broken Dockerfile",
    effect: async (docker) => {
      const { code, stderr } = await docker.run(["build", "-"], `FROM ${image}\nNOSUCH thing\n`);
      return { code, line: /line 2/.test(stderr), instruction: /unknown instruction: NOSUCH/.test(stderr) };
    },
  },
];

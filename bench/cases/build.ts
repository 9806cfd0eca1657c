/** A build without network: a thousand small files and some steps that write files. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Bench, BenchCase } from "../case.ts";
import { type MeasuredEngine, smallImage } from "../measured-engine.ts";
import type { Metric } from "../metric.ts";

const metric = (id: string, label: string, bound?: number): Metric => ({
  id,
  label,
  unit: "ms",
  better: "less",
  ...(bound === undefined ? {} : { target: { kind: "ratio", peer: "docker", bound } }),
});
const builders = {
  classic: {
    cold: metric("build.cold.classic", "build, cold; docker: classic builder"),
    cached: metric("build.cached.classic", "build, cached; docker: classic builder"),
  },
  buildx: {
    cold: metric("build.cold.buildx", "build, cold; docker: buildx", 1),
    cached: metric("build.cached.buildx", "build, cached; docker: buildx", 1),
  },
} as const;
type Builder = keyof typeof builders;

const tag = "berth-bench:built";
const fileCount = 1000;
const dockerfile = `FROM ${smallImage}
RUN echo one > /one
RUN echo two > /two
RUN mkdir -p /srv/a && for i in 1 2 3 4 5; do cp -a /bin/busybox /srv/a/$i; done
COPY files /srv/files
RUN find /srv/files -type f | wc -l > /count
`;

export const build: BenchCase = {
  name: "build",
  about: `a Dockerfile with ${fileCount} files and four RUN steps, cold and cached (DOCKER_BUILDKIT=0; the peer "docker" with buildx as well)`,
  share: 1 / 3,
  async prepare(engine, bench) {
    await writeContext(contextOf(bench));
    if (engine.name === "docker" && bench.buildx) await engine.docker("buildx", "version");
    return { [Symbol.asyncDispose]: async () => await engine.removeImage(tag) };
  },
  async turn({ engine, record }, bench) {
    // An engine with one builder is held against both of Docker's, in the same round.
    const hasBuildx = engine.name === "docker" && bench.buildx;
    const runs: readonly (readonly [Builder, readonly Builder[]])[] = hasBuildx
      ? [
          ["classic", ["classic"]],
          ["buildx", ["buildx"]],
        ]
      : [["classic", ["classic", "buildx"]]];
    for (const [builder, columns] of runs) {
      const cold = await timeBuild(engine, builder, bench, "--no-cache");
      for (const column of columns) record(builders[column].cold, cold);
      await timeBuild(engine, builder, bench); // Fills the cache, whatever --no-cache left in it.
      const cached = await timeBuild(engine, builder, bench);
      for (const column of columns) record(builders[column].cached, cached);
    }
    await engine.removeImage(tag);
  },
};

async function timeBuild(
  engine: MeasuredEngine,
  builder: Builder,
  bench: Bench,
  ...flags: readonly string[]
): Promise<number> {
  const words = [...flags, "-q", "-t", tag, contextOf(bench)];
  if (builder === "classic") return await engine.timeDocker("build", ...words);
  return await engine.timeDocker("buildx", "build", "--load", ...words);
}

function contextOf({ directory }: Bench): string {
  return join(directory, "context");
}

async function writeContext(directory: string): Promise<void> {
  await mkdir(join(directory, "files"), { recursive: true });
  for (let at = 0; at < fileCount; at++) {
    await writeFile(join(directory, "files", `f${at}.txt`), `file ${at}\n${String(at).padStart(200, "0")}\n`);
  }
  await writeFile(join(directory, "Dockerfile"), dockerfile);
}

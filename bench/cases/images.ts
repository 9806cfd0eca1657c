/** Image archives in and out. Every rate is told by the bytes of the unpacked layer's tar. */
import { join } from "node:path";
import { rm } from "node:fs/promises";
import { startRegistry, type RegistryProcess } from "../../test/support/registry.ts";
import { type BigImage, makeBigImage } from "../big-image.ts";
import type { Bench, BenchCase } from "../case.ts";
import type { MeasuredEngine } from "../measured-engine.ts";
import type { Metric } from "../metric.ts";

const rate = (id: string, label: string, bound?: number): Metric => ({
  id,
  label,
  unit: "MB/s",
  better: "more",
  ...(bound === undefined ? {} : { target: { kind: "ratio", peer: "docker", bound } }),
});
const loadPlain = rate("load.plain", "`load`, plain layer");
const loadGzip = rate("load.gzip", "`load`, gzip layer", 2);
const save = rate("save", "`save`", 1);
const importRootfs = rate("import", "`import` of a root file system");
const exportRootfs = rate("export", "`export` of a container");
const pull = rate("pull", "`pull` from a registry on loopback");

/** Made by the first engine that needs it, for all: by the benchmark's directory. */
const images = new Map<string, Promise<BigImage>>();
export async function bigImage({ directory }: Bench): Promise<BigImage> {
  const made = images.get(directory) ?? makeBigImage(join(directory, "big"), "berth-bench:big");
  images.set(directory, made);
  return await made;
}

export const archives: BenchCase = {
  name: "images",
  about: "load, save, import and export of an image of 170 MB of realistic files",
  share: 1 / 3,
  async prepare(engine, bench) {
    const { tag } = await bigImage(bench);
    return removal(engine, tag, "berth-bench:imported");
  },
  async turn({ engine, record }, bench) {
    const { tag, plain, gzip, rootfs, bytes } = await bigImage(bench);
    const perSecond = (ms: number): number => bytes / 1000 / ms;
    const target = join(bench.directory, "saved.tar");
    record(loadGzip, perSecond(await engine.timeDocker("load", "-q", "-i", gzip)));
    await engine.docker("rmi", "-f", tag);
    record(loadPlain, perSecond(await engine.timeDocker("load", "-q", "-i", plain)));
    record(save, perSecond(await engine.timeDocker("save", "-o", target, tag)));
    await rm(target);
    const name = engine.nextName();
    await engine.docker("create", "--name", name, tag, "true");
    record(exportRootfs, perSecond(await engine.timeDocker("export", "-o", target, name)));
    await rm(target);
    await engine.docker("rm", name);
    await engine.docker("rmi", "-f", tag);
    record(importRootfs, perSecond(await engine.timeDocker("import", rootfs, "berth-bench:imported")));
    await engine.docker("rmi", "-f", "berth-bench:imported");
  },
};

/** One registry for all engines, filled by Berth; ended with Berth's turn of clean-up. */
const registries = new Map<string, { readonly registry: RegistryProcess; readonly reference: string }>();

export const pulls: BenchCase = {
  name: "pull",
  about: "pull of that image from a registry on loopback",
  share: 1 / 3,
  async prepare(engine, bench) {
    if (!engine.isBerth) return removal(engine, registries.get(bench.directory)?.reference ?? "");
    const { tag, plain } = await bigImage(bench);
    await using cleanup = new AsyncDisposableStack();
    const registry = cleanup.use(await startRegistry());
    const reference = `${registry.host}/berth-bench:big`;
    await engine.docker("load", "-q", "-i", plain);
    await engine.docker("tag", tag, reference);
    await engine.docker("push", "-q", reference);
    await engine.docker("rmi", "-f", tag, reference);
    cleanup.use(removal(engine, reference));
    registries.set(bench.directory, { registry, reference });
    return cleanup.move();
  },
  async turn({ engine, record }, bench) {
    const { bytes } = await bigImage(bench);
    const reference = registries.get(bench.directory)?.reference ?? "";
    record(pull, bytes / 1000 / (await engine.timeDocker("pull", "-q", reference)));
    await engine.docker("rmi", "-f", reference);
  },
};

/** Takes images off an engine at the end, those that are there. */
function removal(engine: MeasuredEngine, ...tags: readonly string[]): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      for (const tag of tags) await engine.removeImage(tag);
    },
  };
}

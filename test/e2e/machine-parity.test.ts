/**
 * The cases of the docker client that are about an instance, each as a virtual machine (`--runtime vm`): the effect is the one on record,
 * which docker-client.test.ts holds containers to, or a difference that is explained. The table in docs/machines.md is made from the
 * result; RECORD=1 writes it, and what the differences look like.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { guestKernelPackage } from "../support/guest-kernel.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { runCommand } from "../support/run-command.ts";
import { image as caseImage, type Docker, type DockerCase } from "./docker-cases/docker-case.ts";
import { insideCases } from "./docker-cases/inside-cases.ts";
import { lifeCases } from "./docker-cases/life-cases.ts";
import { networkCases } from "./docker-cases/network-cases.ts";
import { runCases } from "./docker-cases/run-cases.ts";
import { systemCases } from "./docker-cases/system-cases.ts";
import { volumeCases } from "./docker-cases/volume-cases.ts";
import { differences } from "./machine-parity/differences.ts";
import { parityTable, withTable } from "./machine-parity/parity-table.ts";

const areas: readonly (readonly [title: string, cases: readonly DockerCase[]])[] = [
  ["run", runCases],
  ["its life", lifeCases],
  ["inside", insideCases],
  ["networks", networkCases],
  ["volumes", volumeCases],
  ["the engine", systemCases],
];
const all = areas.flatMap(([, cases]) => cases);
const records = process.env["RECORD"] !== undefined;
const readJson = (url: URL) => JSON.parse(readFileSync(url, "utf8")) as Record<string, unknown>;
const effectsPath = new URL("./machine-parity/machine-effects.json", import.meta.url);
const docsPath = new URL("../../docs/machines.md", import.meta.url);
const ofContainers = readJson(new URL("./docker-28-effects.json", import.meta.url));

describe("what a container does, as a virtual machine", () => {
  let engine: EngineProcess;
  const ofMachines = records ? {} : readJson(effectsPath);
  /** Cases in which an instance was made. */
  const ran = new Set<string>();

  beforeAll(async () => {
    if (!existsSync("dist/guest/berth-vmm")) execFileSync("sh", ["guest/build.sh"]);
    engine = await EngineProcess.start({ environment: { BERTH_GUEST_KERNEL: guestKernelPackage() } });
    const archive = await busyboxArchive({ tags: [caseImage], cmd: ["echo", "the default command"] });
    const { code, stderr } = await dockerOf(engine).run(["load"], archive);
    if (code !== 0) throw new Error(stderr);
    await dockerOf(engine).run(["run", "--rm", caseImage, "true"]);
  });
  afterAll(async () => {
    await engine.remove();
    await assertNothingLeft(engine);
  });

  it.each(all.map((item) => [item.name, item] as const))("%s", async (name, item) => {
    const docker = dockerOf(engine, () => ran.add(name));
    const effect: unknown = JSON.parse(JSON.stringify(await item.effect(docker)));
    if (differences[name] === undefined) {
      expect(effect).toEqual(ofContainers[name]);
      return;
    }
    if (records) ofMachines[name] = effect;
    expect(effect, "the difference is gone").not.toEqual(ofContainers[name]);
    expect(effect).toEqual(ofMachines[name]);
  });

  it("is told by the table in docs/machines.md", ({ skip }) => {
    const tabled = areas.map(([title, cases]) => ({
      title,
      cases: cases.map(({ name }) => name).filter((name) => ran.has(name)),
    }));
    const asked = all.filter(({ name }) => name in differences).every(({ name }) => ran.has(name));
    if (!asked || ran.size < all.length / 2) skip("not all cases ran");
    const text = readFileSync(docsPath, "utf8");
    const told = withTable(text, parityTable(tabled));
    if (records) {
      writeFileSync(docsPath, told);
      writeFileSync(effectsPath, `${JSON.stringify(ofMachines, undefined, 2)}\n`);
    } else {
      expect(text).toBe(told);
    }
  });
});

/** The docker client, that makes machines of what would be containers. */
function dockerOf(engine: EngineProcess, made: () => void = () => {}): Docker {
  const env = {
    DOCKER_HOST: engine.host,
    DOCKER_CONFIG: "/nonexistent",
    DOCKER_CLI_HINTS: "false",
    DOCKER_BUILDKIT: "0",
  };
  return {
    run: async ([verb = "", ...words], input) => {
      const makes = verb === "run" || verb === "create";
      if (makes) made();
      const line = makes ? [verb, "--runtime", "vm", ...words] : [verb, ...words];
      return await runCommand("docker", line, { env, ...(input === undefined ? {} : { input }) });
    },
  };
}

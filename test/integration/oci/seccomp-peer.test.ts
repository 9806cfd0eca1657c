import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import { instanceSpec } from "../../../src/instances/fake/instance-spec.ts";
import { OciWorld } from "./oci-world.ts";
import { readAnswers, syscallProbe } from "./syscall-probe.ts";

/** Address of a Docker to compare with, "unix:///run/docker.sock". */
const peer = process.env["DOCKER_PEER"];
const ctx = background();
const ENOSYS = -38;

describe.runIf(peer !== undefined && process.arch === "x64")("the default filter beside Docker's", () => {
  const image = `berth-probe-${process.pid}`;
  const docker = (args: readonly string[]) => execFileSync("docker", ["-H", peer ?? "", ...args]);
  const probes = { "x86-64": syscallProbe("x86-64"), i386: syscallProbe("i386") };
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "berth-probe-"));
    for (const [machine, { program }] of Object.entries(probes))
      await writeFile(join(dir, machine), program, { mode: 0o755 });
    execFileSync("tar", ["-C", dir, "-cf", join(dir, "image.tar"), ...Object.keys(probes)]);
    docker(["import", join(dir, "image.tar"), image]);
  });

  afterAll(async () => {
    docker(["rmi", image]);
    await rm(dir, { recursive: true, force: true });
  });

  for (const runtime of ["runc", "crun"]) {
    for (const machine of ["x86-64", "i386"] as const) {
      for (const capAdd of [[], ["SYS_ADMIN", "SYS_PTRACE"], ["ALL"]]) {
        it(`answers as Docker does: ${runtime}, ${machine}, ${capAdd.join("+") || "default capabilities"}`, async () => {
          const flags = capAdd.flatMap((name) => ["--cap-add", name]);
          const theirs = readAnswers(
            probes[machine],
            docker(["run", "--rm", "--network", "none", ...flags, image, `/${machine}`]),
          );
          const ours = readAnswers(probes[machine], await run(runtime, `/data/${machine}`, capAdd));
          const different = [...theirs].filter(([number, answer]) => ours.get(number) !== answer);
          // A libseccomp that is older than Docker's does not know the newest calls: they "do not exist" here.
          expect(different.filter(([number]) => ours.get(number) !== ENOSYS || number <= 450)).toEqual([]);
        });
      }
    }
  }

  async function run(runtime: string, command: string, capAdd: string[]): Promise<Buffer> {
    await using world = await OciWorld.open(runtime);
    const request = await world.request(instanceSpec([command], { security: { capAdd } }), {
      mounts: [{ type: "bind", source: dir, target: "/data", options: ["rbind", "ro", "rprivate"] }],
    });
    const { handle } = await world.driver.prepare(ctx, request);
    const io = await world.driver.attach(ctx, handle);
    await world.driver.start(ctx, handle);
    const chunks: Uint8Array[] = [];
    for await (const frame of io.output) chunks.push(frame.data);
    await world.driver.wait(ctx, handle);
    await world.driver.destroy(ctx, handle);
    return Buffer.concat(chunks);
  }
});

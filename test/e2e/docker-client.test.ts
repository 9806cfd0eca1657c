/**
 * The unmodified docker client on Berth: every case has the effect that it has on Docker 28, which is on record.
 * With DOCKER_PEER=unix://… the cases run on that engine as well and are compared live; with RECORD=1 its effects become the record.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { runCommand } from "../support/run-command.ts";
import { dockerCases } from "./docker-cases/all-cases.ts";
import { image as caseImage, type Docker } from "./docker-cases/docker-case.ts";

const recordPath = new URL("./docker-28-effects.json", import.meta.url);
const peer = process.env["DOCKER_PEER"];

const dockerOf = (host: string): Docker => ({
  run: (words, input) =>
    runCommand("docker", words, {
      env: { DOCKER_HOST: host, DOCKER_CONFIG: "/nonexistent", DOCKER_CLI_HINTS: "false", DOCKER_BUILDKIT: "0" },
      ...(input === undefined ? {} : { input }),
    }),
});

describe("the docker client", () => {
  let engine: EngineProcess;
  let recorded: Record<string, unknown> = {};

  beforeAll(async () => {
    engine = await EngineProcess.start();
    const archive = await busyboxArchive({ tags: [caseImage], cmd: ["echo", "the default command"] });
    const hosts = peer === undefined ? [engine.host] : [engine.host, peer];
    for (const host of hosts) {
      const { code, stderr } = await dockerOf(host).run(["load"], archive);
      if (code !== 0) throw new Error(stderr);
    }
    recorded =
      peer !== undefined && process.env["RECORD"] !== undefined
        ? {}
        : (JSON.parse(readFileSync(recordPath, "utf8")) as Record<string, unknown>);
  });

  afterAll(async () => {
    if (peer !== undefined) await dockerOf(peer).run(["rmi", "-f", caseImage]);
    if (peer !== undefined && process.env["RECORD"] !== undefined)
      writeFileSync(recordPath, `${JSON.stringify(recorded, undefined, 2)}\n`);
    await engine.remove();
    await assertNothingLeft(engine);
  });

  it.each(dockerCases.map((item) => [item.name, item] as const))("%s", async (name, item) => {
    if (peer !== undefined) {
      const theirs: unknown = JSON.parse(JSON.stringify(await item.effect(dockerOf(peer))));
      if (process.env["RECORD"] !== undefined) recorded[name] = theirs;
      else expect.soft(recorded[name], "the record of Docker 28").toEqual(theirs);
    }
    const ours: unknown = JSON.parse(JSON.stringify(await item.effect(dockerOf(engine.host))));
    expect(ours).toEqual(recorded[name]);
  });
});

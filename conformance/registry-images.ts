/** Puts stand-ins into the registry, and under their names into an engine that no mirror leads there. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { EngineClient, readAll } from "../src/client/engine-client.ts";
import { runCommand } from "../test/support/run-command.ts";
import { archiveTag, familiarName, pathInRegistry, type StandIn } from "./stand-ins.ts";

export async function serve(registry: string, standIns: readonly StandIn[], work: string): Promise<void> {
  for (const [index, standIn] of standIns.entries()) {
    const file = join(work, `stand-in-${index}.tar`);
    await writeFile(file, await standIn.archive());
    for (const name of standIn.names) {
      const target = `docker://${registry}/${pathInRegistry(name)}`;
      const words = ["copy", "--quiet", "--dest-tls-verify=false", `docker-archive:${file}:${archiveTag}`, target];
      const { code, stderr } = await runCommand("skopeo", ["--insecure-policy", ...words]);
      if (code !== 0) throw new Error(`the registry does not take ${name}: ${stderr.trim()}`);
    }
    await rm(file);
  }
}

/** Loads those that ask for it; all of them into an engine that does not have the registry as its mirror. */
export async function preload(socket: string, standIns: readonly StandIn[], all: boolean): Promise<void> {
  using api = new EngineClient(`unix://${socket}`, undefined, "1.41");
  for (const standIn of standIns) {
    if (!all && standIn.preload !== true) continue;
    const { body } = await api.stream("POST", "/images/load", {
      query: { quiet: 1 },
      body: Readable.from([await standIn.archive()]),
    });
    const refusal = /"error":"([^"]*)"/.exec(await readAll(body))?.[1];
    if (refusal !== undefined) throw new Error(`the engine does not load ${standIn.names.join(", ")}: ${refusal}`);
    for (const name of standIn.names) {
      const [, repo = "", tag = "latest"] = /^(.+?)(?::([^:/]+))?$/.exec(familiarName(name)) ?? [];
      await api.call("POST", `/images/${archiveTag}/tag`, { query: { repo, tag } });
    }
    await api.call("DELETE", `/images/${archiveTag}`);
  }
}

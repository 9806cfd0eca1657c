import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { decodeFields } from "../../guest/frames.ts";
import { errnoOf } from "../../host/errors.ts";
import { AgentError } from "./agent-channel.ts";

/** What berth-vmm has noted of a machine that did not come up, or died; undefined when it noted nothing. */
export async function failureOf(runDir: string): Promise<AgentError | undefined> {
  const noted = await textOf(join(runDir, "failure"));
  if (noted === undefined) return undefined;
  const fields = new Map(decodeFields(noted));
  const words = [fields.get("message") ?? "", ...["qemu", "shares", "console"].map((name) => fields.get(name) ?? "")];
  return new AgentError(fields.get("kind") ?? "machine", words.filter((word) => word.trim() !== "").join("\n"));
}

/** Why the machine was booted though there was a template; undefined when it was restored. */
export async function templateFailureOf(runDir: string): Promise<string | undefined> {
  return (await textOf(join(runDir, "template-failed")))?.toString().trim();
}

/** Why the machine was made anew though one waited; undefined when it was not. */
export async function adoptionFailureOf(runDir: string): Promise<string | undefined> {
  return (await textOf(join(runDir, "adoption-failed")))?.toString().trim();
}

async function textOf(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** In the directory of a machine that is being handed over: until it is known who has it, it must not go on here by itself. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import { Check } from "typebox/value";
import { rename, rm, writeFile } from "../../host/files.ts";

const HandingOver = Type.Object({ to: Type.String(), id: Type.String(), keep: Type.Boolean() });
export type HandingOver = Static<typeof HandingOver>;

const fileIn = (dataDir: string) => join(dataDir, "handing-over.json");

export async function markHandingOver(dataDir: string, mark: HandingOver): Promise<void> {
  const draft = `${fileIn(dataDir)}.draft`;
  await writeFile(draft, JSON.stringify(mark), { mode: 0o600, flush: true });
  await rename(draft, fileIn(dataDir));
}

export async function unmarkHandingOver(dataDir: string): Promise<void> {
  await rm(fileIn(dataDir), { force: true });
}

/** Undefined when it is nobody's but ours. */
export async function handingOver(dataDir: string): Promise<HandingOver | undefined> {
  if (!existsSync(fileIn(dataDir))) return undefined;
  const mark: unknown = JSON.parse(await readFile(fileIn(dataDir), "utf8"));
  return Check(HandingOver, mark) ? mark : undefined;
}

/** A machine's screen and keyboard. */
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { OpContext } from "../../base/op-context.ts";
import { rm } from "../../host/files.ts";
import { inJail } from "../../instances/machine/layout.ts";
import { isRefusal } from "../../qemu/command-error.ts";
import { type Chord, chordFor, pressKeys } from "../../qemu/keys.ts";
import { takeScreenshot } from "../../qemu/screen.ts";
import type { PressKeysBody } from "../../schema/machine-live-api.ts";
import { type MachineParts, machinePaths, resolveMachine } from "../parts.ts";
import { liveErrors } from "./errors.ts";
import { openMonitor } from "./monitor.ts";

/** A screen of 8K, badly compressible. */
const maxBytes = 128 * 1024 * 1024;
const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");

/** What is on the screen now, as a PNG. `SCREEN_MISSING`. */
export async function screenshot(parts: MachineParts, ctx: OpContext, nameOrId: string): Promise<Buffer> {
  const record = resolveMachine(parts, nameOrId);
  if (record.spec.machine.vga === "none") throw liveErrors.SCREEN_MISSING({ machine: record.name });
  using monitor = await openMonitor(parts, ctx, record);
  const name = `screen-${randomUUID()}.png`;
  const file = join(dirname(machinePaths(parts, record.id).qmp), name);
  try {
    await takeScreenshot(ctx, monitor.qmp, `${inJail.run}/${name}`);
    return await readPng(file, record.name);
  } finally {
    await rm(file, { force: true });
  }
}

/** The directory is QEMU's, and so is what lies in it: no link is followed, nothing endless is read. */
async function readPng(file: string, machine: string): Promise<Buffer> {
  const invalid = (reason: string) => liveErrors.SCREENSHOT_INVALID({ machine, reason });
  await using handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const stat = await handle.stat();
  if (!stat.isFile()) throw invalid("it is no file");
  if (stat.size > maxBytes) throw invalid(`it has ${stat.size} bytes`);
  const bytes = await handle.readFile();
  if (!bytes.subarray(0, signature.length).equals(signature)) throw invalid("it is no PNG");
  return bytes;
}

/** `KEY_UNKNOWN` before any key is pressed, where it can be told beforehand. */
export async function typeKeys(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  { keys = [], text = "" }: PressKeysBody,
): Promise<void> {
  const typed = Array.from(text).map((character): Chord => {
    const chord = chordFor(character);
    if (chord === undefined) throw liveErrors.KEY_UNKNOWN({ key: character });
    return chord;
  });
  const chords = [...typed, ...keys.map((key) => key.split("-"))];
  using monitor = await openMonitor(parts, ctx, resolveMachine(parts, nameOrId));
  try {
    await pressKeys(ctx, monitor.qmp, chords);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw liveErrors.KEY_UNKNOWN(
      { key: /'([^']*)'[^']*$/.exec(error.description)?.[1] ?? keys.join(" ") },
      { cause: error },
    );
  }
}

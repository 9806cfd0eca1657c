/** Keys of a machine's keyboard: QEMU's names for them (QKeyCode), and text as a US keyboard types it. */
import { type Clock, systemClock } from "../base/clock.ts";
import type { OpContext } from "../base/op-context.ts";
import type { QmpClient } from "./qmp-client.ts";

/** Keys that are pressed together, by QEMU's names: ["ctrl", "alt", "delete"]. */
export type Chord = readonly string[];

const plain: Readonly<Record<string, string>> = {
  " ": "spc",
  "\n": "ret",
  "\t": "tab",
  "-": "minus",
  "=": "equal",
  "[": "bracket_left",
  "]": "bracket_right",
  "\\": "backslash",
  ";": "semicolon",
  "'": "apostrophe",
  "`": "grave_accent",
  ",": "comma",
  ".": "dot",
  "/": "slash",
};

/** The characters that shift makes of others. */
const shifted: Readonly<Record<string, string>> = {
  "!": "1",
  "@": "2",
  "#": "3",
  $: "4",
  "%": "5",
  "^": "6",
  "&": "7",
  "*": "8",
  "(": "9",
  ")": "0",
  _: "-",
  "+": "=",
  "{": "[",
  "}": "]",
  "|": "\\",
  ":": ";",
  '"': "'",
  "~": "`",
  "<": ",",
  ">": ".",
  "?": "/",
};

const pressMs = 20;

/** The chord that types `character`; undefined for one that a US keyboard does not have. */
export function chordFor(character: string): Chord | undefined {
  if (/^[a-z0-9]$/.test(character)) return [character];
  if (/^[A-Z]$/.test(character)) return ["shift", character.toLowerCase()];
  const name = plain[character];
  if (name !== undefined) return [name];
  const below = shifted[character];
  const chord = below === undefined ? undefined : chordFor(below);
  return chord === undefined ? undefined : ["shift", ...chord];
}

/** Presses chords one after another, slowly enough for firmware that looks at its keyboard now and then. */
export async function pressKeys(
  ctx: OpContext,
  qmp: QmpClient,
  chords: readonly Chord[],
  clock: Clock = systemClock,
): Promise<void> {
  for (const chord of chords) {
    const keys = chord.map((data) => ({ type: "qcode", data }));
    await qmp.execute(ctx, "send-key", { keys, "hold-time": pressMs });
    await clock.sleep(2 * pressMs, ctx.signal);
  }
}

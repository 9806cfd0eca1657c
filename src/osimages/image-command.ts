/** An init for a tree that has none: Berth's own, which runs what a container of the image would. */
import { constants } from "node:os";
import type { ImageRunConfig } from "../schema/image.ts";
import type { OverlayFile } from "./overlay-files.ts";

/** Where the kernel's `init=` points, and the description beside it (guest/osinit/image.c). */
export const initPath = "/usr/lib/berth/init";
const descriptionPath = "usr/lib/berth/image";

/** The init and what it is to run; undefined when the image has no command. */
export function imageCommand(config: ImageRunConfig, osinit: Uint8Array): readonly OverlayFile[] | undefined {
  const words = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  if (words.length === 0) return undefined;
  return [
    { kind: "file", path: initPath.slice(1), content: osinit, mode: 0o755 },
    { kind: "file", path: descriptionPath, content: describe(config, words), mode: 0o644 },
  ];
}

/** Strings "name=value", each ended by a NUL byte, which none of them can have. */
function describe(config: ImageRunConfig, words: readonly string[]): string {
  const fields = [
    ...words.map((word) => `arg=${word}`),
    ...(config.Env ?? []).map((variable) => `env=${variable}`),
    `user=${config.User ?? ""}`,
    `cwd=${config.WorkingDir ?? ""}`,
    `stop=${signalNumber(config.StopSignal ?? "")}`,
  ];
  return fields.map((field) => `${field}\0`).join("");
}

function signalNumber(name: string): number {
  const numbers: Readonly<Record<string, number>> = constants.signals;
  const number = /^\d+$/.test(name) ? Number(name) : numbers[`SIG${name.toUpperCase().replace(/^SIG/, "")}`];
  return number ?? constants.signals.SIGTERM;
}

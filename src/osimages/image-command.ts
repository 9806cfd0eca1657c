/** An init for a tree that has none: Berth's own, which runs what a container of the image would. */
import { constants } from "node:os";
import { decodeFields } from "../guest/frames.ts";
import type { ImageRunConfig } from "../schema/image.ts";
import type { OverlayFile } from "./overlay-files.ts";

/** Where the kernel's `init=` points, and the description beside it (guest/osinit/image.c). */
export const initPath = "/usr/lib/berth/init";
export const descriptionPath = "usr/lib/berth/image";

/** The init and what it is to run; undefined when the image has no command. */
export function imageCommand(config: ImageRunConfig, osinit: Uint8Array): readonly OverlayFile[] | undefined {
  const words = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  if (words.length === 0) return undefined;
  return [
    { kind: "file", path: initPath.slice(1), content: osinit, mode: 0o755 },
    { kind: "file", path: descriptionPath, content: describe(config, words), mode: 0o644 },
  ];
}

/** What a disk's description says, which anybody may have written: its values hold any character but NUL. */
export interface DescribedCommand {
  readonly words: readonly string[];
  /** "NAME=value". */
  readonly env: readonly string[];
  readonly user: string;
  readonly workingDir: string;
  /** A number. */
  readonly stopSignal: string;
}

/** Undefined when it names no command. */
export function parseDescription(description: Uint8Array): DescribedCommand | undefined {
  const fields = decodeFields(Buffer.from(description));
  const all = (key: string) => fields.flatMap(([name, value]) => (name === key ? [value] : []));
  const one = (key: string) => all(key)[0] ?? "";
  const words = all("arg");
  if (words.length === 0) return undefined;
  return { words, env: all("env"), user: one("user"), workingDir: one("cwd"), stopSignal: one("stop") };
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

/** A Dockerfile as data. Words are as written: variables are expanded when the instruction is evaluated (`expand-instruction.ts`). */
import type { Healthcheck } from "../schema/image.ts";
import type { MountField } from "./run-mount.ts";

export interface Dockerfile {
  readonly file: string;
  readonly escape: EscapeCharacter;
  /** `ARG` before the first `FROM`: usable in `FROM` lines only. */
  readonly metaArgs: readonly ArgInstruction[];
  readonly stages: readonly Stage[];
  /** Things that work but should be mended, as printed to the user. */
  readonly warnings: readonly string[];
}

export interface Stage {
  readonly from: FromInstruction;
  /** Everything up to the next `FROM`. */
  readonly instructions: readonly StageInstruction[];
}

/** What escapes characters and continues lines; chosen by the directive `# escape=`. */
export type EscapeCharacter = "\\" | "`";

export interface SourcePosition {
  readonly file: string;
  /** First line, from 1. */
  readonly line: number;
  readonly endLine: number;
}

export type Instruction = FromInstruction | StageInstruction;

export type StageInstruction = RunInstruction | CopyInstruction | ArgInstruction | ConfigInstruction;

/** Instructions that change nothing but the image's configuration (`WORKDIR` also makes the directory). */
export type ConfigInstruction =
  | CommandInstruction
  | EnvInstruction
  | LabelInstruction
  | ExposeInstruction
  | HealthcheckInstruction
  | OnbuildInstruction
  | TextInstruction
  | VolumeInstruction
  | ShellInstruction;

interface InstructionBase {
  /** The whole instruction on one line, as `docker build` prints it. */
  readonly text: string;
  readonly position: SourcePosition;
}

export interface FromInstruction extends InstructionBase {
  readonly kind: "from";
  /** Image, earlier stage, or "scratch"; may hold variables. */
  readonly base: string;
  readonly platform: string;
  /** Lower case; "" when unnamed. */
  readonly stageName: string;
}

/** `["a", "b"]`, or a line for the shell ("" is none). */
export type CommandLine =
  | { readonly form: "exec"; readonly words: readonly string[] }
  | { readonly form: "shell"; readonly line: string };

export interface Heredoc {
  /** The delimiter, without quotes. */
  readonly name: string;
  /** `<<-`: leading tabs are dropped. */
  readonly chomp: boolean;
  /** False when the delimiter was quoted. */
  readonly expand: boolean;
  /** Lines up to the delimiter, as written. */
  readonly content: string;
}

export interface RunInstruction extends InstructionBase {
  readonly kind: "run";
  readonly command: CommandLine;
  readonly heredocs: readonly Heredoc[];
  /** "", "default", "none" or "host". */
  readonly network: string;
  /** The options of each `--mount` (`run-mount.ts`). */
  readonly mounts: readonly (readonly MountField[])[];
  /** Names of flags that only BuildKit has ("security", "device"), in order. */
  readonly buildKitFlags: readonly string[];
}

/** A file whose content stands in the Dockerfile. */
export interface InlineFile {
  readonly name: string;
  readonly content: string;
  readonly expand: boolean;
}

export interface CopyInstruction extends InstructionBase {
  readonly kind: "copy" | "add";
  readonly sources: readonly string[];
  readonly inlineFiles: readonly InlineFile[];
  readonly destination: string;
  /** Stage name or number, or image; "" is the build context. */
  readonly from: string;
  readonly chown: string;
  readonly chmod: string;
  readonly link: boolean;
  /** Keep the sources' directories (`--parents`). */
  readonly parents: boolean;
  readonly excludes: readonly string[];
  /** `sha256:…` of a remote source. */
  readonly checksum: string;
  /** Whether to unpack archives; undefined is ADD's own rule (local ones, not remote ones). */
  readonly unpack: boolean | undefined;
  readonly keepGitDir: boolean;
}

export interface ArgInstruction extends InstructionBase {
  readonly kind: "arg";
  readonly args: readonly { readonly name: string; readonly value: string | undefined }[];
}

export interface CommandInstruction extends InstructionBase {
  readonly kind: "cmd" | "entrypoint";
  readonly command: CommandLine;
}

export interface KeyValue {
  readonly key: string;
  readonly value: string;
}

interface EnvInstruction extends InstructionBase {
  readonly kind: "env";
  readonly pairs: readonly KeyValue[];
}

interface LabelInstruction extends InstructionBase {
  readonly kind: "label";
  readonly pairs: readonly KeyValue[];
}

interface ExposeInstruction extends InstructionBase {
  readonly kind: "expose";
  /** "80", "53/udp", "8000-8010/tcp". */
  readonly ports: readonly string[];
}

export interface HealthcheckInstruction extends InstructionBase {
  readonly kind: "healthcheck";
  readonly check: Healthcheck;
}

export interface OnbuildInstruction extends InstructionBase {
  readonly kind: "onbuild";
  /** The instruction to run in builds from this image, with its heredocs. */
  readonly trigger: string;
}

/** Instructions of one argument. */
interface TextInstruction extends InstructionBase {
  readonly kind: "maintainer" | "user" | "workdir" | "stopsignal";
  readonly value: string;
}

interface VolumeInstruction extends InstructionBase {
  readonly kind: "volume";
  readonly paths: readonly string[];
}

interface ShellInstruction extends InstructionBase {
  readonly kind: "shell";
  readonly shell: readonly string[];
}

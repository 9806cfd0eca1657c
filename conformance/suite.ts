/** What a suite is: tests that others wrote, run as they are against an engine. */
import type { StandIn } from "./stand-ins.ts";

export interface Suite {
  /** As the command line and the files in reasons/ and results/ call it. */
  readonly name: string;
  /** What it is, for the report: whose tests, and which part of them counts. */
  readonly about: string;
  /** Programs of the host without which it can't run, and the Debian package that has each. */
  readonly needs: readonly { readonly program: string; readonly package: string }[];
  /** Gets its sources where the user gave none. */
  fetch(request: FetchRequest): Promise<Source>;
  /** The images that its tests name, as stand-ins that are served or loaded before it runs. */
  images(source: Source): Promise<readonly StandIn[]>;
  /** False where it tests a part of ours in this process: no engine is started for it. */
  readonly engine: boolean;
  run(subject: Subject): Promise<readonly CaseResult[]>;
}

export interface FetchRequest {
  /** A directory of the suite's own that is kept between runs. */
  readonly cache: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** Where a suite's files are, and how the report calls them. */
export interface Source {
  readonly directory: string;
  /** "podman 5.8.6 (Debian sid)". */
  readonly version: string;
}

/** Why a suite was not run at all: nothing is wrong with the engine. */
export class NotRun extends Error {}

/** What a suite runs against. */
export interface Subject {
  readonly source: Source;
  /** Path of the engine's socket. */
  readonly socket: string;
  /** Whether it is the engine of this tree; else one that `--engine` named. */
  readonly isBerth: boolean;
  /** "127.0.0.1:PORT" of the registry that serves the stand-ins. */
  readonly registry: string;
  /** Loads the stand-ins again that it had at the start, after all images were removed. */
  readonly preload: () => Promise<void>;
  /** An empty directory, deleted afterwards. */
  readonly work: string;
  /** Which cases to run, where the suite can choose: part of a name each; empty: all. */
  readonly only: readonly string[];
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** One case's end. A case's name is unique in its suite and the same in each run. */
export type CaseResult =
  | { readonly name: string; readonly outcome: "passed" }
  | { readonly name: string; readonly outcome: "failed"; readonly detail: string }
  | { readonly name: string; readonly outcome: "skipped"; readonly reason: string };

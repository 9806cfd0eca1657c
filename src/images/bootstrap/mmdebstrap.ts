import { Socket } from "node:net";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { cleanupContext, type OpContext } from "../../base/op-context.ts";
import type { Child, Processes } from "../../host/host.ts";
import { endSession } from "../../host/process/end-session.ts";
import { writeTarEntries } from "../tar-writer.ts";
import { entriesBefore } from "./root-overlay.ts";

export interface MmdebstrapRun {
  /** The root file system's tar. Fails at its end when mmdebstrap failed. */
  readonly tar: Readable;
  /** Ends it if it still runs, and waits until it has cleaned up. */
  stop(): Promise<void>;
}

const SIGTERM = 15;
const SIGKILL = 9;
/** It unmounts and removes its tree after SIGTERM. */
const CLEANUP_MS = 20_000;

/**
 * Documentation and translations are what Debian's own slim images leave out; licences stay. Syncing each file buys nothing in a
 * layer, which is thrown away whole.
 */
const DPKG_OPTIONS: readonly string[] = [
  "force-unsafe-io",
  "path-exclude=/usr/share/man/*",
  "path-exclude=/usr/share/info/*",
  "path-exclude=/usr/share/doc/*",
  "path-include=/usr/share/doc/*/copyright",
  "path-exclude=/usr/share/locale/*",
  "path-exclude=/usr/share/lintian/*",
];

/**
 * Starts mmdebstrap for a minimal root with apt. `fail` makes the error from its last complaints; `onLine` gets what it does.
 */
export async function startMmdebstrap(
  ctx: OpContext,
  processes: Processes,
  options: {
    readonly suite: string;
    /** Files in mmdebstrap's formats. */
    readonly sourcesFile: string;
    readonly overlay: string;
    readonly temporary: string;
    /** GOARCH's name is not apt's: "amd64", "arm64", "armhf", … */
    readonly architecture: string;
    readonly include: readonly string[];
    readonly aptOptions: readonly string[];
    /** Seconds since the epoch; no file is newer. */
    readonly sourceDateEpoch: number;
    readonly environment: Readonly<Record<string, string>>;
    readonly onLine: (line: string) => void;
    readonly fail: (complaints: string) => Error;
  },
): Promise<MmdebstrapRun> {
  const child = await processes.spawn(ctx, {
    argv: [
      "mmdebstrap",
      "--variant=minbase",
      "--format=tar",
      "--skip=output/dev",
      `--architectures=${options.architecture}`,
      ...(options.include.length === 0 ? [] : [`--include=${options.include.join(",")}`]),
      ...options.aptOptions.map((option) => `--aptopt=${option}`),
      ...DPKG_OPTIONS.map((option) => `--dpkgopt=${option}`),
      `--customize-hook=sync-in ${options.overlay} /`,
      options.suite,
      "-",
      options.sourcesFile,
    ],
    env: {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      LC_ALL: "C.UTF-8",
      HOME: options.temporary,
      TMPDIR: options.temporary,
      SOURCE_DATE_EPOCH: String(options.sourceDateEpoch),
      ...options.environment,
    },
    cwd: options.temporary,
    // Its own session: a terminal's Ctrl-C goes to the engine, which ends it in order.
    newSession: true,
    fds: { 1: { kind: "pipe", parent: "reads" }, 2: { kind: "pipe", parent: "reads" } },
  });
  const output = new Socket({ fd: child.pipes[1] ?? -1, readable: true, writable: false });
  const complaints = followErrors(child, options.onLine);
  return {
    tar: Readable.from(whole(child, output, complaints, options), { objectMode: false }),
    stop: async () => {
      output.destroy();
      if (processes.isAlive(child.identity)) {
        processes.signal(child.identity, SIGTERM);
        const timer = setTimeout(() => processes.signal(child.identity, SIGKILL), CLEANUP_MS);
        await child.exited;
        clearTimeout(timer);
      }
      // What it ran in a chroot may outlive it, and write on into a directory that is being removed.
      await endSession(cleanupContext(ctx), processes, child.identity);
    },
  };
}

async function* whole(
  child: Child,
  output: Socket,
  complaints: Promise<string>,
  { sourceDateEpoch, fail }: { readonly sourceDateEpoch: number; readonly fail: (complaints: string) => Error },
): AsyncGenerator<Uint8Array> {
  yield* writeTarEntries(entriesBefore(sourceDateEpoch));
  for await (const chunk of output) yield chunk;
  const status = await child.exited;
  const text = await complaints;
  if (status.signal !== 0) throw fail(`mmdebstrap was ended by signal ${status.signal}`);
  if (status.code !== 0) throw fail(text === "" ? `mmdebstrap ended with status ${status.code}` : text);
}

/** Hands on each line, and resolves with the errors among them: apt's first, they name the cause. */
async function followErrors(child: Child, onLine: (line: string) => void): Promise<string> {
  const errors: string[] = [];
  const lines = createInterface({ input: new Socket({ fd: child.pipes[2] ?? -1, readable: true, writable: false }) });
  for await (const raw of lines) {
    const line = raw.split("\r").at(-1)?.trim() ?? "";
    if (line === "") continue;
    if (/^(?:E|Err):/.test(line) && errors.length < 3) errors.push(line.replace(/^E: /, ""));
    onLine(line);
  }
  return errors.join("; ");
}

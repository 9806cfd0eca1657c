/** Sources of suites: Debian's source packages, a pinned revision of a public repository, or a directory of the user's. */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../src/base/errors.ts";
import { runCommand } from "../test/support/run-command.ts";
import { type DebianTarball, debianTarballs, downloadTarball } from "./debian-sources.ts";
import { type FetchRequest, NotRun, type Source } from "./suite.ts";

/** Where a suite can be had. */
export interface SourceChoices {
  /** A path below the source's top that must be there: the suite itself. */
  readonly holds: string;
  /** Upstream's version whose outcomes are kept, as Debian writes it: taken before any other. */
  readonly keptVersion?: string;
  /** Source packages of Debian that hold it, whatever the version. */
  readonly debian?: readonly DebianPackage[];
  /** Upstream's own repository, at the revision whose outcomes are kept. */
  readonly git?: GitRevision;
}

export interface DebianPackage {
  readonly package: string;
  /** Part of the name of the package's tarball: "orig", or a component such as "orig-buildkit". */
  readonly tarball?: string;
}

export interface GitRevision {
  readonly url: string;
  readonly commit: string;
  /** What the report calls it. */
  readonly version: string;
}

const gitTimeoutMs = 120_000;

/**
 * The first that can be had of: what an earlier run fetched, Debian's package of the kept version, the pinned revision, Debian's other
 * versions from new to old. Throws {@link NotRun} with all that was tried.
 */
export async function findSource(suite: string, choices: SourceChoices, request: FetchRequest): Promise<Source> {
  const { cache, say } = request;
  const tried: string[] = [];
  const attempt = async (name: string, fetch: (directory: string) => Promise<void>) => {
    const directory = join(cache, name);
    try {
      if (!existsSync(directory)) {
        say(`fetching ${name}`);
        await publish(cache, directory, fetch);
      }
      if (!existsSync(join(directory, choices.holds))) throw new Error(`has no ${choices.holds}`);
      return { directory, version: name };
    } catch (error) {
      request.signal.throwIfAborted();
      tried.push(`${name}: ${messageOf(error)}`);
      return undefined;
    }
  };
  const cached = await cachedSource(choices, cache);
  if (cached !== undefined) return cached;
  const { tarballs, refusals } = await debianTarballs(choices.debian ?? [], cache);
  tried.push(...refusals);
  const takeTarball = async (tarball: DebianTarball) =>
    await attempt(nameOf(tarball), async (directory) => await downloadTarball(tarball, directory));
  const kept = tarballs.filter(({ version }) => version === choices.keptVersion);
  for (const tarball of kept) {
    const source = await takeTarball(tarball);
    if (source !== undefined) return source;
  }
  const { git } = choices;
  if (git !== undefined) {
    const source = await attempt(`${git.version} (git)`, async (directory) => await checkOut(git, directory));
    if (source !== undefined) return source;
  }
  for (const tarball of tarballs.filter((one) => !kept.includes(one))) {
    const source = await takeTarball(tarball);
    if (source !== undefined) return source;
  }
  const lines = tried.map((line) => `  ${line}`);
  const wayOut = git === undefined ? "" : ` (a checkout of ${git.url} at ${git.version})`;
  throw new NotRun(`no source can be had; give one with --source ${suite}=DIR${wayOut}. Tried:\n${lines.join("\n")}`);
}

/** What an earlier run fetched: the kept version where it is there, else any. */
async function cachedSource({ holds, keptVersion, git }: SourceChoices, cache: string): Promise<Source | undefined> {
  const whole = (await readdir(cache)).filter((name) => existsSync(join(cache, name, holds)));
  const isKept = (name: string) =>
    (git !== undefined && name === `${git.version} (git)`) ||
    (keptVersion !== undefined && name.includes(` ${keptVersion} `));
  const name = whole.find(isKept) ?? whole.sort(new Intl.Collator("en", { numeric: true }).compare).at(-1);
  return name === undefined ? undefined : { directory: join(cache, name), version: name };
}

function nameOf({ package: name, version, release }: DebianTarball): string {
  return `${name} ${version} (Debian ${release})`;
}

/** A directory appears in the cache under its name when it is whole. */
async function publish(cache: string, directory: string, fill: (directory: string) => Promise<void>): Promise<void> {
  const draft = await mkdtemp(join(cache, "unpacking-"));
  try {
    await mkdir(join(draft, "source"));
    await fill(join(draft, "source"));
    await rename(await topOf(join(draft, "source")), directory);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/** Some tarballs have one top, some have several levels of it ("moby-buildkit-a1b2c3/engine"), some none. */
async function topOf(directory: string): Promise<string> {
  const entries = await readdir(directory, { withFileTypes: true });
  const [first] = entries;
  return entries.length === 1 && first?.isDirectory() === true ? await topOf(join(directory, first.name)) : directory;
}

/** The one commit, which its own hash proves. */
async function checkOut({ url, commit }: GitRevision, directory: string): Promise<void> {
  const git = async (...words: readonly string[]) => {
    const options = { cwd: directory, timeoutMs: gitTimeoutMs, env: { LC_ALL: "C", GIT_TERMINAL_PROMPT: "0" } };
    const { code, stderr } = await runCommand("git", words, options);
    if (code !== 0) throw new Error(`git ${words[0]} ${url}: ${stderr.trim().split("\n").at(-1) ?? "it fails"}`);
  };
  await git("init", "--quiet");
  await git("fetch", "--quiet", "--depth=1", url, commit);
  await git("checkout", "--quiet", "FETCH_HEAD");
}

/** A directory that the user gave, called by its git revision where it has one. */
export async function givenSource(suite: string, directory: string): Promise<Source> {
  if (!existsSync(directory)) throw new Error(`--source ${suite}=${directory}: no such directory`);
  const git = await runCommand("git", ["-C", directory, "describe", "--tags", "--always"]).catch(() => undefined);
  return { directory, version: git?.code === 0 ? `${git.stdout.trim()} (git)` : "a directory given by --source" };
}

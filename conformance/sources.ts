/** Sources of suites: Debian's source packages, fetched by apt with an entry of its own, or a directory of the user's. */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../test/support/run-command.ts";
import type { FetchRequest, Source } from "./suite.ts";

/** A source package of Debian that holds a suite. */
export interface DebianPackage {
  readonly package: string;
  /** Newest first: the first that can be downloaded and has `holds` is taken. */
  readonly releases: readonly string[];
  /** Part of the name of the package's tarball: "orig", or a component such as "orig-buildkit". */
  readonly tarball?: string;
  /** A path below the source's top that must be there. */
  readonly holds: string;
}

/** Upstream's own tarball out of the first package that can be had, unpacked without Debian's changes. */
export async function debianSource(choices: readonly DebianPackage[], { cache, say }: FetchRequest): Promise<Source> {
  const refusals: string[] = [];
  for (const choice of choices) {
    for (const release of choice.releases) {
      const directory = join(cache, `${choice.package}-${release}`);
      try {
        if (!existsSync(directory)) {
          say(`fetching ${choice.package} of Debian ${release}`);
          await fetchPackage(choice, release, cache, directory);
        }
        const [top = ""] = await readdir(directory);
        if (!existsSync(join(directory, top, "source", choice.holds))) throw new Error(`holds no ${choice.holds}`);
        return { directory: join(directory, top, "source"), version: `${top.replace("_", " ")} (Debian ${release})` };
      } catch (error) {
        refusals.push(
          `  ${choice.package} of Debian ${release}: ${String(error instanceof Error ? error.message : error)}`,
        );
      }
    }
  }
  throw new Error(`no source can be had; give one with --source:\n${refusals.join("\n")}`);
}

/** A directory that the user gave, called by its git revision where it has one. */
export async function givenSource(suite: string, directory: string): Promise<Source> {
  if (!existsSync(directory)) throw new Error(`--source ${suite}=${directory}: no such directory`);
  const git = await runCommand("git", ["-C", directory, "describe", "--tags", "--always"]).catch(() => undefined);
  return { directory, version: git?.code === 0 ? `${git.stdout.trim()} (git)` : "a directory given by --source" };
}

async function fetchPackage(choice: DebianPackage, release: string, cache: string, directory: string): Promise<void> {
  const { work, apt } = await privateApt(release, cache);
  const tarball = choice.tarball ?? "orig";
  const words = [...apt, "source", "--download-only", "-qq"];
  // Which files there are is told before any is downloaded: only the one tarball is wanted.
  const listed = await must("apt-get", [...words, "--print-uris", choice.package], work);
  const [, uri, file] = new RegExp(`^'([^']+)' (\\S+\\.${tarball}\\.tar\\.\\w+) `, "m").exec(listed) ?? [];
  const [, hash] = new RegExp(`\\.${tarball}\\.tar\\.\\S+ \\d+ (\\S+)`).exec(listed) ?? [];
  if (uri === undefined || file === undefined) throw new Error(`its source has no ${tarball} tarball`);
  await must(
    "/usr/lib/apt/apt-helper",
    [...apt, "download-file", uri, join(work, file), ...(hash ? [hash] : [])],
    work,
  );
  const unpacked = await mkdtemp(join(cache, "unpacking-"));
  try {
    const top = join(unpacked, file.slice(0, file.indexOf(`.${tarball}.tar`)));
    await mkdir(join(top, "raw"), { recursive: true });
    await must("tar", ["-xf", join(work, file), "-C", join(top, "raw")], work);
    await rename(await onlyDirectoryOf(join(top, "raw")), join(top, "source"));
    await rm(join(top, "raw"), { recursive: true, force: true });
    await rename(unpacked, directory);
  } finally {
    await rm(unpacked, { recursive: true, force: true });
    await rm(join(work, file), { force: true });
  }
}

/** Some tarballs have one top, some have several levels of it ("moby-buildkit-a1b2c3/engine"), some none. */
async function onlyDirectoryOf(directory: string): Promise<string> {
  const entries = await readdir(directory, { withFileTypes: true });
  const [first] = entries;
  return entries.length === 1 && first?.isDirectory() === true
    ? await onlyDirectoryOf(join(directory, first.name))
    : directory;
}

/** apt with one deb-src line, on the mirror that the host's own configuration names, in directories of its own. */
async function privateApt(
  release: string,
  cache: string,
): Promise<{ readonly work: string; readonly apt: readonly string[] }> {
  const work = join(cache, "apt", release);
  await mkdir(join(work, "lists/partial"), { recursive: true });
  await mkdir(join(work, "cache/archives/partial"), { recursive: true });
  const list = join(work, "sources.list");
  await writeFile(
    list,
    `deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${await debianMirror()} ${release} main\n`,
  );
  const apt = [
    ["Dir::Etc::sourcelist", list],
    ["Dir::Etc::sourceparts", "-"],
    ["Dir::State::lists", join(work, "lists")],
    ["Dir::Cache", join(work, "cache")],
    ["APT::Sandbox::User", "root"],
  ].flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  await must("apt-get", [...apt, "-qq", "update"], work);
  return { work, apt };
}

async function debianMirror(): Promise<string> {
  const targets = await runCommand("apt-get", [
    "indextargets",
    "--format",
    "$(SITE) $(ORIGIN)",
    "Created-By: Packages",
  ]);
  const site = targets.stdout
    .split("\n")
    .find((line) => /\/debian\/? Debian$/.test(line))
    ?.split(" ")[0];
  return site ?? "http://deb.debian.org/debian";
}

async function must(program: string, words: readonly string[], cwd: string): Promise<string> {
  const result = await runCommand(program, words, { cwd, timeoutMs: 300_000, env: { LC_ALL: "C" } });
  if (result.code !== 0) throw new Error(result.stderr.trim().split("\n")[0] ?? `${program} fails`);
  return result.stdout;
}

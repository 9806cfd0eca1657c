/** Upstream's tarballs in Debian's source packages, of each release that the mirror has, by an apt with configuration of its own. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { messageOf } from "../src/base/errors.ts";
import { runCommand } from "../test/support/run-command.ts";
import type { DebianPackage } from "./sources.ts";

const releases = ["sid", "forky", "trixie", "bookworm"];
const downloadTimeoutMs = 300_000;

export interface DebianTarball {
  readonly package: string;
  /** Upstream's part of the version, as in the tarball's name: "5.8.6+ds1". */
  readonly version: string;
  readonly release: string;
  readonly file: string;
  readonly url: string;
  readonly sha256: string;
  /** Options of apt with which it was found. */
  readonly apt: readonly string[];
}

export interface DebianTarballs {
  /** From new to old; none twice. */
  readonly tarballs: readonly DebianTarball[];
  /** Releases whose index can't be had, and releases that have none of the packages. */
  readonly refusals: readonly string[];
}

export async function debianTarballs(packages: readonly DebianPackage[], cache: string): Promise<DebianTarballs> {
  const found = new Map<string, DebianTarball>();
  const refusals: string[] = [];
  if (packages.length === 0) return { tarballs: [], refusals };
  for (const release of releases) {
    try {
      const index = await indexOf(release, join(dirname(cache), "apt"));
      const names = packages.map((one) => one.package);
      const stanzas = await must("apt-cache", [...index.apt, "showsrc", "--only-source", ...names]).catch(() => "");
      const tarballs = packages.flatMap((one) => tarballsOf(stanzas, one, release, index));
      if (tarballs.length === 0) refusals.push(`Debian ${release}: has no source of ${names.join(" or ")} with it`);
      for (const tarball of tarballs) found.set(tarball.file, found.get(tarball.file) ?? tarball);
    } catch (error) {
      refusals.push(`Debian ${release}: ${messageOf(error)}`);
    }
  }
  const { compare } = new Intl.Collator("en", { numeric: true });
  return { tarballs: [...found.values()].sort((one, other) => compare(other.version, one.version)), refusals };
}

/** Unpacks upstream's own files, without Debian's changes. */
export async function downloadTarball({ file, url, sha256, apt }: DebianTarball, directory: string): Promise<void> {
  const work = await mkdtemp(join(directory, "..", "download-"));
  try {
    const target = join(work, file);
    await must("/usr/lib/apt/apt-helper", [...apt, "download-file", url, target, `SHA256:${sha256}`]);
    await must("tar", ["-xf", target, "-C", directory]);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

interface Index {
  readonly mirror: string;
  readonly apt: readonly string[];
}

/** Read once in a run, whichever suites ask. */
const indexes = new Map<string, Promise<Index>>();

async function indexOf(release: string, directory: string): Promise<Index> {
  const known = indexes.get(release) ?? readIndex(release, directory);
  indexes.set(release, known);
  return await known;
}

/** One deb-src line, on the mirror that the host's own configuration names, in directories of its own. */
async function readIndex(release: string, directory: string): Promise<Index> {
  const work = join(directory, release);
  await mkdir(join(work, "lists/partial"), { recursive: true });
  await mkdir(join(work, "cache/archives/partial"), { recursive: true });
  const mirror = await debianMirror();
  const list = join(work, "sources.list");
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  await writeFile(list, `deb-src [signed-by=${keyring}] ${mirror} ${release} main\n`);
  const apt = [
    ["Dir::Etc::sourcelist", list],
    ["Dir::Etc::sourceparts", "-"],
    ["Dir::State::lists", join(work, "lists")],
    ["Dir::Cache", join(work, "cache")],
    ["APT::Sandbox::User", "root"],
  ].flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  await must("apt-get", [...apt, "-qq", "-o", "APT::Update::Error-Mode=any", "update"]);
  return { mirror, apt };
}

/** Of `apt-cache showsrc`, which tells every version that an index has. */
export function tarballsOf(
  stanzas: string,
  { package: name, tarball = "orig" }: DebianPackage,
  release: string,
  { mirror, apt }: Index,
): readonly DebianTarball[] {
  return stanzas.split(/\n\n+/).flatMap((stanza) => {
    if (/^Package: (.*)$/m.exec(stanza)?.[1] !== name) return [];
    const [, directory] = /^Directory: (.*)$/m.exec(stanza) ?? [];
    const [, hashes = ""] = /^Checksums-Sha256:(.*(?:\n .*)*)/m.exec(stanza) ?? [];
    const [, sha256, file] =
      new RegExp(`([0-9a-f]{64}) \\d+ (\\S+\\.${tarball}\\.tar\\.\\w+)$`, "m").exec(hashes) ?? [];
    if (directory === undefined || sha256 === undefined || file === undefined) return [];
    const version = file.slice(name.length + 1, file.indexOf(`.${tarball}.tar`));
    return [{ package: name, version, release, file, url: `${mirror}/${directory}/${file}`, sha256, apt }];
  });
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
  return (site ?? "http://deb.debian.org/debian").replace(/\/$/, "");
}

async function must(program: string, words: readonly string[]): Promise<string> {
  const result = await runCommand(program, words, { timeoutMs: downloadTimeoutMs, env: { LC_ALL: "C" } });
  if (result.code === 0) return result.stdout;
  const reasons = result.stderr.trim().split("\n");
  throw new Error(reasons.find((line) => line.startsWith("E: ")) ?? reasons[0] ?? `${program} fails`);
}

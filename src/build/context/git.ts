/** Contexts in git repositories: `https://host/repo.git#ref:directory`. */
import { realpath } from "node:fs/promises";
import { join, posix } from "node:path";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { mkdir, rm } from "../../host/files.ts";
import type { Host } from "../../host/host.ts";
import { buildErrors } from "../errors.ts";

export function isGitUrl(text: string): boolean {
  if (/^https?:\/\//i.test(text)) return /\.git(?:#.*)?$/.test(text);
  return /^(?:git:\/\/|ssh:\/\/|git@|github\.com\/)/.test(text);
}

/** Fetches one commit into `target`; returns the directory that the fragment names. `BUILD_GIT_FAILED`. */
export async function cloneRepository(
  ctx: OpContext,
  host: Host,
  url: string,
  target: string,
  { keepGitDir = false }: { readonly keepGitDir?: boolean } = {},
): Promise<string> {
  const [address = "", fragment = ""] = url.split("#", 2);
  const [ref = "", directory = ""] = fragment.split(":", 2);
  const fail = (reason: string): Error => buildErrors.BUILD_GIT_FAILED({ url: address, reason });
  if (host.processes.which("git") === undefined) throw fail("git is not installed");
  // Neither may be taken for an option.
  if (ref.startsWith("-") || address.startsWith("-"))
    throw fail("neither the address nor the reference may start with a dash");
  const repository = address.startsWith("github.com/") ? `https://${address}` : address;
  const git = async (...words: readonly string[]): Promise<void> => {
    const { code, stderr } = await host.processes.run(ctx, {
      argv: ["git", "-C", target, ...words],
      env: gitEnvironment(target),
      timeoutMs: 10 * 60_000,
    });
    if (code !== 0) throw fail(stderr.trim().split("\n").at(-1) ?? `git ended with ${code}`);
  };
  await mkdir(target, { recursive: true });
  await git("init", "--quiet");
  const wanted = ref === "" ? "HEAD" : ref;
  try {
    await git("fetch", "--quiet", "--depth=1", "--", repository, wanted);
  } catch (error) {
    // A repository served as plain files has no other way.
    if (!/shallow/.test(messageOf(error))) throw error;
    await git("fetch", "--quiet", "--", repository, wanted);
  }
  await git("checkout", "--quiet", "--detach", "FETCH_HEAD");
  await git("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1");
  if (!keepGitDir) await rm(join(target, ".git"), { recursive: true, force: true });
  const inside = posix.normalize(`/${directory}`);
  return inside === "/" ? target : await subdirectory(target, inside, fail);
}

/** A directory of the repository; one that is reached through a symbolic link might be anywhere. */
async function subdirectory(target: string, inside: string, fail: (reason: string) => Error): Promise<string> {
  const directory = join(target, inside);
  const real = await realpath(directory).catch(() => undefined);
  if (real === undefined) throw fail(`there is no directory ${inside.slice(1)} in it`);
  if (real !== join(await realpath(target), inside))
    throw fail(`${inside.slice(1)} is reached through a symbolic link`);
  return directory;
}

/** Asks nobody for anything, reads no configuration of the host, and speaks only to networks. */
function gitEnvironment(home: string): Readonly<Record<string, string>> {
  return {
    PATH: process.env["PATH"] ?? "/usr/bin:/bin",
    HOME: home,
    LC_ALL: "C",
    GIT_TERMINAL_PROMPT: "0",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_ALLOW_PROTOCOL: "https:http:git:ssh",
    GIT_LFS_SKIP_SMUDGE: "1",
  };
}

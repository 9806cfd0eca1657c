/** dockerode's own tests, by mocha, as they are. */
import { cp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../../test/support/run-command.ts";
import { hostPrograms } from "../host-programs.ts";
import { npmModules, type PackageManifest } from "../npm-modules.ts";
import { archiveTag, busyboxStandIn } from "../stand-ins.ts";
import { busyboxArchive } from "../../test/support/busybox-image.ts";
import { findSource } from "../sources.ts";
import type { CaseResult, Subject, Suite } from "../suite.ts";

const timeoutMs = 900_000;

/** Of its files, those that need what Berth has never claimed: each is counted as skipped. */
const apart: Readonly<Record<string, string>> = {
  "swarm.js": "tests Swarm",
  "plugin.js": "installs a plug-in from Docker Hub",
};

export const dockerode: Suite = {
  name: "dockerode",
  about:
    "dockerode's tests (`test/*.js`) without those of Swarm and of plug-ins. npm's tarball holds none: they come from its repository.",
  needs: [{ program: "bash", package: "bash" }],
  engine: true,
  // npm's tarball holds no tests, and Debian has no package of it.
  fetch: async (request) =>
    await findSource(
      "dockerode",
      {
        holds: "test",
        git: {
          url: "https://github.com/apocas/dockerode",
          commit: "3624bc02dfc60afdf9b59ade72d34a9b2f2edd5d",
          version: "3624bc0",
        },
      },
      request,
    ),
  images: async () => [
    {
      names: ["docker.io/library/ubuntu:latest", "docker.io/library/ubuntu:14.04"],
      // Its tests of containers expect that it has been pulled.
      preload: true,
      archive: async () => {
        const bash = await hostPrograms({ "bin/bash": "/bin/bash" });
        return await busyboxArchive({ tags: [archiveTag], cmd: ["bash"], files: bash });
      },
    },
    busyboxStandIn(["docker.io/library/busybox:latest"]),
    busyboxStandIn(["docker.io/library/alpine:latest"]),
    busyboxStandIn(["docker.io/library/hello-world:latest"], { cmd: ["echo", "Hello from Docker!"] }),
  ],
  run: runMocha,
};

async function runMocha({ source, socket, work, only, say }: Subject): Promise<readonly CaseResult[]> {
  const directory = join(work, "dockerode");
  await cp(source.directory, directory, {
    recursive: true,
    filter: (path) => !/\/(node_modules|\.git)$/.test(path),
  });
  const manifest = JSON.parse(await readFile(join(directory, "package.json"), "utf8")) as PackageManifest;
  const modules = await npmModules({ ...manifest.dependencies, ...manifest.devDependencies });
  await symlink(modules, join(directory, "node_modules"));
  const cases: CaseResult[] = [];
  for (const file of await testFiles(directory)) {
    const reason = apart[file];
    if (reason !== undefined) {
      cases.push({ name: file, outcome: "skipped", reason });
      continue;
    }
    if (only.length > 0 && !only.some((part) => file.includes(part))) continue;
    say(file);
    cases.push(...(await runFile(directory, file, socket)));
  }
  return cases;
}

async function testFiles(directory: string): Promise<readonly string[]> {
  return (await readdir(join(directory, "test"))).filter((name) => name.endsWith(".js") && name !== "spec_helper.js");
}

interface MochaReport {
  readonly tests: readonly MochaTest[];
  readonly pending: readonly MochaTest[];
  readonly failures: readonly MochaTest[];
}

interface MochaTest {
  readonly fullTitle: string;
  readonly err: { readonly message?: string };
}

/** Each file in a process of its own: one that hangs or throws ends only itself. */
async function runFile(directory: string, file: string, socket: string): Promise<readonly CaseResult[]> {
  const report = join(directory, `${file}.json`);
  const options = [`--reporter=json`, `--reporter-option=output=${report}`, "--exit"];
  const words = ["node_modules/mocha/bin/mocha.js", ...options, join("test", file)];
  // Set to anything, DOCKER_SOCKET makes its helper look where DOCKER_HOST says.
  const env = { DOCKER_SOCKET: "1", DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: "/nonexistent" };
  await writeFile(report, "");
  const { stderr } = await runCommand(process.execPath, words, { cwd: directory, env, timeoutMs });
  const text = await readFile(report, "utf8");
  if (text === "") return [{ name: file, outcome: "failed", detail: stderr.slice(-500) }];
  const { tests, pending, failures } = JSON.parse(text) as MochaReport;
  const failed = new Map(failures.map(({ fullTitle, err }) => [fullTitle, err.message ?? "no message"]));
  const left = new Set(pending.map(({ fullTitle }) => fullTitle));
  const named = new Set([...tests.map(({ fullTitle }) => fullTitle), ...failed.keys()]);
  return [...named].map((title): CaseResult => {
    const name = `${file}: ${title}`;
    const detail = failed.get(title);
    if (detail !== undefined) return { name, outcome: "failed", detail: detail.split("\n")[0] ?? "" };
    return left.has(title)
      ? { name, outcome: "skipped", reason: "skipped by the test itself" }
      : { name, outcome: "passed" };
  });
}

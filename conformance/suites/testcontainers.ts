/** The tests of testcontainers-node's core package, by vitest, as they are. */
import { cp, mkdir, readFile, symlink } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { runCommand } from "../../test/support/run-command.ts";
import { npmModules, type PackageManifest } from "../npm-modules.ts";
import { findSource } from "../sources.ts";
import type { CaseResult, Subject, Suite } from "../suite.ts";
import { testcontainersImages } from "./testcontainers-images.ts";

const core = "packages/testcontainers";
const timeoutMs = 1_800_000;
const composeScript = new URL("../../scripts/compose-client.sh", import.meta.url).pathname;
const composePlugin = new URL("../../.cache/docker-client/cli-plugins/docker-compose", import.meta.url).pathname;

export const testcontainers: Suite = {
  name: "testcontainers",
  about: `The tests of testcontainers-node's core (\`${core}\`), its reaper a stand-in of ours. npm's tarball holds none: they come from its repository.`,
  needs: [
    { program: "bash", package: "bash" },
    { program: "openssl", package: "openssl" },
    { program: "/usr/sbin/getpcaps", package: "libcap2-bin" },
    { program: "socat", package: "socat" },
    { program: "/usr/bin/tini-static", package: "tini" },
  ],
  engine: true,
  // npm's tarball holds no tests, and Debian has no package of it.
  fetch: async (request) =>
    await findSource(
      "testcontainers",
      {
        holds: core,
        git: {
          url: "https://github.com/testcontainers/testcontainers-node",
          commit: "457707f3cd19b1ff9e34ed74d33beaca4c55f507",
          version: "457707f3",
        },
      },
      request,
    ),
  images: testcontainersImages,
  run: runVitest,
};

async function runVitest({ source, socket, work, only }: Subject): Promise<readonly CaseResult[]> {
  const directory = join(work, "testcontainers");
  for (const path of [core, "vitest.config.ts", "tsconfig.base.json", "package.json"]) {
    await cp(join(source.directory, path), join(directory, path), {
      recursive: true,
      filter: (file) => !/\/(node_modules|\.git)$/.test(file),
    });
  }
  await symlink(await npmModules(await dependenciesOf(directory)), join(directory, "node_modules"));
  const config = join(work, "docker-config");
  await mkdir(join(config, "cli-plugins"), { recursive: true });
  const unpacked = await runCommand("sh", [composeScript], { timeoutMs });
  if (unpacked.code !== 0) throw new Error(`docker compose can't be had: ${unpacked.stderr.trim().split("\n").at(-1)}`);
  if (existsSync(composePlugin)) await symlink(composePlugin, join(config, "cli-plugins/docker-compose"));
  const report = join(work, "report.json");
  // One file at a time: their tests of one file run side by side as it is, and expect answers within seconds.
  const options = ["run", "--reporter=json", `--outputFile=${report}`, "--no-file-parallelism", "--dir", core];
  const words = ["node_modules/vitest/vitest.mjs", ...options, ...only];
  const env = { DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: config, DEBUG: "" };
  const { stdout, stderr } = await runCommand(process.execPath, words, { cwd: directory, env, timeoutMs });
  if (!existsSync(report)) throw new Error(`vitest wrote no report:\n${(stdout + stderr).slice(-1000)}`);
  const { testResults } = JSON.parse(await readFile(report, "utf8")) as VitestReport;
  return testResults.flatMap((file) => casesOf(file, join(directory, core, "src")));
}

async function dependenciesOf(directory: string): Promise<Readonly<Record<string, string>>> {
  const read = async (path: string) => JSON.parse(await readFile(join(directory, path), "utf8")) as PackageManifest;
  const { devDependencies = {} } = await read("package.json");
  const own = await read(join(core, "package.json"));
  const tools = ["vitest", "typescript"].map((name) => [name, devDependencies[name] ?? "latest"] as const);
  return { ...own.dependencies, ...own.devDependencies, ...Object.fromEntries(tools) };
}

interface VitestReport {
  readonly testResults: readonly VitestFile[];
}

interface VitestFile {
  readonly name: string;
  readonly message: string;
  readonly assertionResults: readonly {
    readonly fullName: string;
    readonly status: string;
    readonly failureMessages?: readonly string[];
  }[];
}

function casesOf({ name: path, message, assertionResults }: VitestFile, top: string): readonly CaseResult[] {
  const file = relative(top, path);
  if (assertionResults.length === 0) return [{ name: file, outcome: "failed", detail: message.slice(0, 300) }];
  return assertionResults.map(({ fullName, status, failureMessages }): CaseResult => {
    const name = `${file}: ${fullName}`;
    if (status === "passed") return { name, outcome: "passed" };
    if (status !== "failed") return { name, outcome: "skipped", reason: "skipped by the test itself" };
    return { name, outcome: "failed", detail: failureMessages?.[0]?.split("\n")[0]?.slice(0, 300) ?? "" };
  });
}

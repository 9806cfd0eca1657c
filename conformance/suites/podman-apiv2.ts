/** Podman's tests of its REST API, each file by the suite's own runner, which speaks to any server at a port of localhost. */
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../../test/support/run-command.ts";
import { clearEngine } from "../engine.ts";
import { findSource } from "../sources.ts";
import { busyboxStandIn, type StandIn } from "../stand-ins.ts";
import type { CaseResult, Source, Subject, Suite } from "../suite.ts";
import { casesOfOutput } from "./podman-apiv2/cases.ts";
import { podmanShim } from "./podman-apiv2/podman-shim.ts";
import { forwardPort } from "./podman-apiv2/port.ts";

const testsDirectory = "test/apiv2";
const fileTimeoutMs = 10 * 60_000;

export const podmanApiv2: Suite = {
  name: "podman-apiv2",
  about:
    "Podman's tests of its REST API (`test/apiv2`). A case is a request with all that is checked of its answer. The Docker-compatible part is every request whose path is not under `/libpod/`; the others are Podman's own API and are skipped, and so is whatever is checked between a request of Podman's own and the next that is not. What the tests do with the `podman` command the docker client does here; a request that does not end is cut off after 12 silent seconds and judged by what came.",
  needs: [
    { program: "bash", package: "bash" },
    { program: "curl", package: "curl" },
    { program: "jq", package: "jq" },
    { program: "file", package: "file" },
    { program: "openssl", package: "openssl" },
    { program: "htpasswd", package: "apache2-utils" },
    { program: "docker", package: "docker-cli" },
  ],
  engine: true,
  fetch: async (request) =>
    await findSource(
      "podman-apiv2",
      {
        holds: testsDirectory,
        debian: [{ package: "podman" }, { package: "libpod" }],
        git: {
          url: "https://github.com/containers/podman",
          commit: "5b263b5f5b48004a87caac44e67349a8266d9ef4",
          version: "v5.8.2",
        },
      },
      request,
    ),
  images: standIns,
  run: async (subject) => {
    const { source, only, say } = subject;
    await using port = await forwardPort(subject.socket);
    const programs = await writePrograms(subject);
    const files = (await readdir(join(source.directory, testsDirectory))).filter((name) => name.endsWith(".at")).sort();
    const cases: CaseResult[] = [];
    for (const file of files) {
      const name = file.slice(0, -".at".length);
      if (only.length > 0 && !only.some((part) => name.includes(part))) continue;
      subject.signal.throwIfAborted();
      say(name);
      const output = await runFile(name, { subject, port: port.number, programs });
      cases.push(...casesOfOutput(name, output, [`${source.directory}/`, subject.work]));
      await clearEngine(subject.socket, AbortSignal.timeout(fileTimeoutMs), { images: true });
      await subject.preload();
    }
    return cases;
  },
};

async function runFile(
  name: string,
  { subject, port, programs }: { readonly subject: Subject; readonly port: number; readonly programs: string },
): Promise<string> {
  const scratch = join(subject.work, "tmp");
  await mkdir(scratch, { recursive: true });
  const { stdout, stderr, code } = await runCommand(
    "bash",
    [join(subject.source.directory, testsDirectory, "test-apiv2"), name],
    {
      cwd: join(subject.source.directory, testsDirectory),
      env: {
        TMPDIR: scratch,
        HOME: subject.work,
        PATH: `${programs}:${process.env["PATH"] ?? ""}`,
        PODMAN: join(programs, "podman"),
        PODMAN_SERVICE_PORT: String(port),
        CONTAINERS_HELPER_BINARY_DIR: programs,
        DOCKER_CONFIG: join(subject.work, "docker-config"),
        LC_ALL: "C.UTF-8",
      },
      timeoutMs: fileTimeoutMs,
    },
  );
  // The runner's own last line; without it the file was left in the middle.
  return /^1\.\.\d+$/m.test(stdout)
    ? stdout
    : `${stdout}\n# broke off with ${code}: ${stderr.trim().split("\n").slice(-3).join(" ")}\n`;
}

/** A directory for PATH with a `podman` and a `curl` of ours. */
async function writePrograms({ work, socket }: Subject): Promise<string> {
  const directory = join(work, "bin");
  await mkdir(directory);
  const curl = (await runCommand("sh", ["-c", "command -v curl"])).stdout.trim();
  for (const [name, text] of [
    ["podman", podmanShim(socket)],
    ["curl", boundedCurl(curl)],
  ] as const) {
    await writeFile(join(directory, name), text);
    await chmod(join(directory, name), 0o755);
  }
  return directory;
}

/**
 * A request that does not end (`stream=false` of events is Podman's own) would hold up the whole suite: after 12 silent seconds it is
 * cut off, and judged by what came until then. An upgraded connection that carries nothing is no failure either. Where the suite sets a limit itself, that is what it looks at.
 */
function boundedCurl(curl: string): string {
  return `#!/bin/bash
for arg; do [ "$arg" = -m ] && exec ${curl} "$@"; done
${curl} --speed-limit 1 --speed-time 12 --max-time 120 "$@"
code=$?
[ $code = 28 ] || [ $code = 52 ] && exit 0
exit $code
`;
}

/** The test image's tag is in the runner; its parts are those that the tests look at. */
async function standIns({ directory }: Source): Promise<readonly StandIn[]> {
  const runner = await readFile(join(directory, testsDirectory, "test-apiv2"), "utf8");
  const [, tag = "20221018"] = /PODMAN_TEST_IMAGE_TAG:-"(\w+)"/.exec(runner) ?? [];
  const [, registryTag = "2.8.2"] = /registry:([\d.]+)"/.exec(runner) ?? [];
  const registry = await registryPrograms();
  return [
    busyboxStandIn([`quay.io/libpod/testimage:${tag}`], {
      cmd: ["/bin/echo", "This container is intended for podman CI testing"],
      config: { WorkingDir: "/home/podman", Labels: { created_by: "test/system/build-testimage" } },
      files: { "home/podman/testimage-id": `${tag}\n` },
    }),
    ...(tag === "20221018" ? [] : [busyboxStandIn(["quay.io/libpod/testimage:20221018"])]),
    busyboxStandIn(["quay.io/libpod/alpine:latest"]),
    busyboxStandIn(["quay.io/libpod/busybox:latest"]),
    // Looked for without a pull: the suite's own set-up has them.
    { ...busyboxStandIn(["docker.io/library/alpine:latest"]), preload: true },
    { ...busyboxStandIn(["docker.io/library/busybox:latest"]), preload: true },
    busyboxStandIn([`quay.io/libpod/registry:${registryTag}`], {
      cmd: ["/bin/docker-registry", "serve", "/etc/registry.yml"],
      files: {
        ...registry,
        "etc/registry.yml":
          "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /var/tmp/registry\nhttp:\n  addr: :5000\n  secret: test\n",
      },
    }),
  ];
}

/** The host's registry and the libraries it is linked to. */
async function registryPrograms(): Promise<Readonly<Record<string, Buffer>>> {
  const { stdout } = await runCommand("sh", ["-c", 'p=$(command -v docker-registry) && echo "$p" && ldd "$p"']);
  const [program = "", ...lines] = stdout.split("\n");
  const libraries = lines.flatMap((line) => /(\/\S+) \(0x/.exec(line)?.[1] ?? []);
  const files = [["bin/docker-registry", program], ...libraries.map((path) => [path, path])] as const;
  return Object.fromEntries(
    await Promise.all(files.map(async ([name = "", path = ""]) => [name, await readFile(path)] as const)),
  );
}

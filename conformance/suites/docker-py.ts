/** docker-py's integration tests, run by pytest. */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ImageOptions } from "../../test/support/busybox-image.ts";
import { runCommand } from "../../test/support/run-command.ts";
import { findSource } from "../sources.ts";
import { busyboxStandIn } from "../stand-ins.ts";
import { type CaseResult, NotRun, type Subject, type Suite } from "../suite.ts";

const testsDirectory = "tests/integration";
const suiteTimeoutMs = 30 * 60_000;
/** Some of them wait for an event that an engine may never send. */
const caseTimeoutSeconds = 60;
/** What docker-py's own Makefile sets. */
const apiVersion = "1.45";

export const dockerPy: Suite = {
  name: "docker-py",
  about:
    "docker-py's integration tests (`tests/integration`). Those that need Swarm are skipped: whole files about it, and each test that starts a swarm; so are those of `credentials/`, which ask a credential store of the host and no engine.",
  needs: [
    { program: "/usr/bin/python3", package: "python3" },
    {
      program: "pytest-3",
      package: "python3-pytest python3-pytest-timeout python3-requests python3-paramiko python3-websocket",
    },
  ],
  engine: true,
  fetch: async (request) =>
    await findSource(
      "docker-py",
      {
        holds: testsDirectory,
        keptVersion: "7.2.0",
        debian: [{ package: "python-docker" }],
        git: {
          url: "https://github.com/docker/docker-py",
          commit: "5ad5327fba623897ee9a527d7eee1b01703e0726",
          version: "7.2.0",
        },
      },
      request,
    ),
  images: async () => [
    busyboxStandIn(["docker.io/library/alpine:3.10"], alpine),
    busyboxStandIn(["docker.io/library/alpine:latest"], alpine),
    busyboxStandIn(["docker.io/library/busybox:latest"]),
    busyboxStandIn(["docker.io/library/hello-world:latest"], { cmd: ["echo", "Hello from Docker!"] }),
  ],
  run: async (subject) => {
    await requireModules();
    const { source, work, only } = subject;
    // Contexts are kept beside the client's configuration file, and in the current directory when there is none.
    await mkdir(join(work, "docker-config"));
    await writeFile(join(work, "docker-config/config.json"), "{}\n");
    const swarm = await swarmTests(join(source.directory, testsDirectory));
    const report = join(work, "junit.xml");
    const words = [
      "-m",
      "pytest",
      testsDirectory,
      "-q",
      "--tb=short",
      // Nothing is written beside the sources.
      "-pno:cacheprovider",
      `--timeout=${caseTimeoutSeconds}`,
      `--junitxml=${report}`,
      "--override-ini=junit_family=xunit1",
      `--ignore=${testsDirectory}/credentials`,
      ...[...swarm.files.keys()].map((file) => `--ignore=${testsDirectory}/${file}`),
      ...(only.length === 0 ? [] : ["-k", only.join(" or ")]),
    ];
    const output = await runCommand(python, [...words, ...swarm.tests.flatMap((id) => ["--deselect", id])], {
      cwd: source.directory,
      env: environment(subject),
      timeoutMs: suiteTimeoutMs,
    });
    const xml = await readFile(report, "utf8").catch(() => {
      throw new Error(`pytest wrote no report:\n${output.stdout}${output.stderr}`);
    });
    const cases = [...casesOf(xml)];
    if (only.length > 0) return cases;
    for (const [file, names] of swarm.files) {
      for (const name of names) cases.push({ name: `${file}: ${name}`, outcome: "skipped", reason: needsSwarm });
    }
    for (const id of swarm.tests) cases.push({ name: nameOf(id), outcome: "skipped", reason: needsSwarm });
    return cases;
  },
};

/** What its tests expect of an alpine: a user, a directory. */
const alpine: Omit<ImageOptions, "tags"> = {
  files: {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\npostgres:x:70:70:postgres:/var/lib/postgresql:/bin/sh\n",
    "etc/group": "root:x:0:\npostgres:x:70:\n",
    "var/opt/.keep": "",
  },
};

/** Debian's own: its packages bring the modules; what comes first on PATH may be another. */
const python = "/usr/bin/python3";
const needsSwarm = "needs Swarm, which Berth does not have";

function environment({ socket, work }: Subject): Readonly<Record<string, string>> {
  return {
    DOCKER_HOST: `unix://${socket}`,
    DOCKER_TEST_API_VERSION: apiVersion,
    // Contexts are written below it.
    HOME: work,
    DOCKER_CONFIG: join(work, "docker-config"),
    PYTHONDONTWRITEBYTECODE: "1",
  };
}

async function requireModules(): Promise<void> {
  const modules = {
    pytest: "python3-pytest",
    pytest_timeout: "python3-pytest-timeout",
    requests: "python3-requests",
    paramiko: "python3-paramiko",
    websocket: "python3-websocket",
  };
  const missing: string[] = [];
  for (const [module, name] of Object.entries(modules)) {
    if ((await runCommand(python, ["-c", `import ${module}`])).code !== 0) missing.push(name);
  }
  if (missing.length === 0) return;
  throw new NotRun(`missing on this host: run \`apt-get install --no-install-recommends ${missing.join(" ")}\``);
}

interface SwarmTests {
  /** Files that are about nothing else, with their tests. */
  readonly files: ReadonlyMap<string, readonly string[]>;
  /** Pytest's ids of single tests that start a swarm. */
  readonly tests: readonly string[];
}

/** By their text: a set-up that starts a swarm is for the whole file, a call in a test for that test. */
async function swarmTests(directory: string): Promise<SwarmTests> {
  const files = new Map<string, readonly string[]>();
  const tests: string[] = [];
  for (const file of (await readdir(directory)).filter((name) => name.endsWith("_test.py")).sort()) {
    const text = await readFile(join(directory, file), "utf8");
    const blocks = [...text.matchAll(/^class (\w+)|^ +def (\w+)\(([^]*?)(?=^ +def |^class |$(?![^]))/gm)];
    const names: string[] = [];
    const starting: string[] = [];
    let className = "";
    let whole = false;
    for (const [, classStart, method, body = ""] of blocks) {
      if (classStart !== undefined) className = classStart;
      else if (method?.startsWith("test") === true) {
        names.push(`${className}.${method}`);
        if (/init_swarm\(|swarm\.init\(/.test(body))
          starting.push(`${testsDirectory}/${file}::${className}::${method}`);
      } else if (
        /^(setUp|setUpClass|setup_class|setup_method)$/.test(method ?? "") &&
        /init_swarm\(|swarm\.init\(/.test(body)
      ) {
        whole = true;
      }
    }
    if (whole || (starting.length > 0 && /^(api|models)_swarm/.test(file))) files.set(file, names);
    else tests.push(...starting);
  }
  return { files, tests };
}

/** "tests/integration/a_test.py::Class::test" as the cases are called: "a_test.py: Class.test". */
function nameOf(id: string): string {
  const [file = "", ...names] = id.slice(testsDirectory.length + 1).split("::");
  return `${file}: ${names.join(".")}`;
}

function* casesOf(xml: string): Generator<CaseResult> {
  for (const [, attributes = "", , body = ""] of xml.matchAll(/<testcase ([^>]*?)(\/>|>([^]*?)<\/testcase>)/g)) {
    const attribute = (key: string) => unescape(new RegExp(`(?:^| )${key}="([^"]*)"`).exec(attributes)?.[1] ?? "");
    const file = attribute("file").slice(testsDirectory.length + 1);
    const className = attribute("classname").split(".").at(-1) ?? "";
    const name = `${file === "" ? attribute("classname") : file}: ${className}.${attribute("name")}`;
    const [, kind, detail = ""] = /<(failure|error|skipped)\b[^>]*? message="([^"]*)"/.exec(body) ?? [];
    switch (kind) {
      case undefined:
        yield { name, outcome: "passed" };
        break;
      case "skipped":
        yield { name, outcome: "skipped", reason: `the suite itself: ${unescape(detail)}` };
        break;
      default:
        yield { name, outcome: "failed", detail: unescape(detail).slice(0, 600) };
    }
  }
}

function unescape(text: string): string {
  const names: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
  return text.replace(
    /&(?:#(\d+)|#x([0-9a-fA-F]+)|(\w+));/g,
    (whole, decimal?: string, hex?: string, name?: string) => {
      if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
      return names[name ?? ""] ?? whole;
    },
  );
}

/**
 * What people do with the `docker` client, as cases: each runs some invocations on an engine and returns their effect, with what
 * can't be the same (ids, times, addresses) left out. The effect on Docker 28 is on record in `docker-28-effects.json`.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { tarOf } from "../../src/archive/fake/tar-builder.ts";
import type { CommandResult } from "../support/run-command.ts";

export interface Docker {
  /** Runs the client; `input` goes to its stdin. */
  run(words: readonly string[], input?: string | Uint8Array): Promise<CommandResult>;
}

export interface DockerCase {
  readonly name: string;
  effect(docker: Docker): Promise<unknown>;
}

const image = "berth-case:1";
const scrub = (text: string): string =>
  stripVTControlCharacters(text)
    .replaceAll(/\b[0-9a-f]{64}\b/g, "ID64")
    .replaceAll(/\b[0-9a-f]{12}\b/g, "ID12")
    .replaceAll(/\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-]\d\d:?\d\d)?( [+-]\d{4} UTC)?/g, "TIME")
    .trimEnd();
const brief = ({ code, stdout, stderr }: CommandResult) => ({ code, stdout: scrub(stdout), stderr: scrub(stderr) });
/** The error as the client prints it, without the advice after it, which is the client's own. */
const errorOnly = ({ code, stderr }: CommandResult) => ({
  code,
  error: scrub(stderr)
    .split("\n")[0]
    ?.replace(/^docker: /, "")
    .replace(/^Error response from daemon: /, "")
    .replace("is a directory: permission denied", "permission denied")
    // Docker names every program on the way to the reason; the reason is what counts.
    .replace(/^.*(?=exec: ")/, ""),
});
const words = (line: string): string[] => line.split(" ").filter((word) => word !== "");

/** One invocation, its whole effect. */
const plain = (name: string, ...given: readonly (string | readonly string[])[]): DockerCase => ({
  name,
  effect: async (docker) =>
    brief(await docker.run(given.flatMap((word) => (typeof word === "string" ? words(word) : word)))),
});

/** One invocation that fails. */
const refused = (name: string, ...given: readonly string[]): DockerCase => ({
  name,
  effect: async (docker) => errorOnly(await docker.run(given.flatMap(words))),
});

/** Works on a running container called `case`, which is removed afterwards. */
const running = (
  name: string,
  options: string,
  effect: (docker: Docker) => Promise<unknown>,
  command: readonly string[] = ["sleep", "1000"],
): DockerCase => ({
  name,
  effect: async (docker) => {
    const started = await docker.run([
      ...words(`run -d --name case --stop-signal KILL ${options} ${image}`),
      ...command,
    ]);
    try {
      if (started.code !== 0) return errorOnly(started);
      return await effect(docker);
    } finally {
      await docker.run(words("rm -fv case"));
    }
  },
});

const inspect = async (docker: Docker, format: string, name = "case"): Promise<string> =>
  (await docker.run(["inspect", "-f", format, name])).stdout.trim();
const sh = (script: string): readonly string[] => ["sh", "-c", script];

const runCases: readonly DockerCase[] = [
  plain("run prints output and takes exit codes", "run --rm", image, sh("echo out; echo err >&2; exit 7")),
  plain("run without a command uses the image's", "run --rm", image),
  refused("run of an unknown command", `run --rm ${image} nosuchcommand`),
  refused("run of a directory", `run --rm ${image} /etc`),
  refused("run with a bad name", `run --rm --name /bad/name ${image} true`),
  refused("run with too little memory", `run --rm -m 1m ${image} true`),
  refused(
    "run with a bind that is not absolute",
    `run --rm --mount type=bind,source=/nonexistent-dir-x,target=/x ${image} true`,
  ),
  refused("run with a bad capability", `run --rm --cap-add NOSUCH ${image} true`),
  refused("run with an unknown network", `run --rm --network nosuchnet ${image} true`),
  refused("run with an unknown runtime", `run --rm --runtime nosuch ${image} true`),
  plain(
    "run with environment, workdir, host name",
    "run --rm -e A=1 -e B --env C=3 -w /tmp -h myhost",
    image,
    sh("echo $A [$B] $C $PWD $(hostname)"),
  ),
  plain(
    "run as a user with groups",
    "run --rm -u www --group-add audio",
    image,
    sh("id -un; id -G | tr ' ' '\\n' | sort -nu"),
  ),
  plain("run as numeric ids", "run --rm -u 1234:5678", image, sh("id -u; id -g; echo $HOME")),
  refused("run as an unknown user", `run --rm -u nosuchuser ${image} true`),
  plain("run with an entry point", "run --rm --entrypoint echo", image, ["hello", "world"]),
  plain(
    "run read-only with a tmpfs",
    "run --rm --read-only --tmpfs /scratch:size=1m",
    image,
    sh("touch /x 2>&1; touch /scratch/y && echo written; grep -c ' /scratch tmpfs' /proc/mounts"),
  ),
  plain(
    "run drops and adds capabilities",
    "run --rm --cap-drop ALL --cap-add NET_RAW",
    image,
    sh("grep CapEff /proc/self/status"),
  ),
  plain(
    "run has docker's default capabilities",
    "run --rm",
    image,
    sh("grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; grep NoNewPrivs /proc/self/status"),
  ),
  plain(
    "run with no new privileges",
    "run --rm --security-opt no-new-privileges",
    image,
    sh("grep NoNewPrivs /proc/self/status"),
  ),
  plain(
    "run without seccomp",
    "run --rm --security-opt seccomp=unconfined",
    image,
    sh("grep Seccomp: /proc/self/status"),
  ),
  plain(
    "run masks paths",
    "run --rm",
    image,
    sh(
      "ls /proc/acpi /sys/firmware 2>/dev/null | wc -l; echo x 2>/dev/null > /proc/sys/kernel/domainname || echo readonly",
    ),
  ),
  plain(
    "run with a sysctl and a ulimit",
    "run --rm --sysctl net.ipv4.ip_forward=1 --ulimit nofile=512:1024",
    image,
    sh("cat /proc/sys/net/ipv4/ip_forward; ulimit -n; ulimit -Hn"),
  ),
  plain(
    "run with memory, cpu and pids limits",
    "run --rm -m 64m --cpus 0.5 --pids-limit 50 --cpuset-cpus 0",
    image,
    sh("nproc"),
  ),
  plain("run out of memory is killed", "run --rm -m 16m --memory-swap 16m", image, sh("x=a; while :; do x=$x$x; done")),
  plain("run with an init", "run --rm --init", image, sh("cat /proc/1/comm")),
  plain(
    "run with a device",
    "run --rm --device /dev/null:/dev/mynull:rw",
    image,
    sh("test -c /dev/mynull && echo device"),
  ),
  plain(
    "run privileged sees devices",
    "run --rm --privileged",
    image,
    sh(
      "grep CapEff /proc/self/status | cut -c9-16; grep Seccomp: /proc/self/status; test -b /dev/vda -o -c /dev/kmsg -o -c /dev/mem && echo devices",
    ),
  ),
  plain(
    "run with the host's network",
    "run --rm --network host",
    image,
    sh("ls /sys/class/net | grep -c .  >/dev/null && echo host"),
  ),
  plain("run without network", "run --rm --network none", image, sh("ls /sys/class/net")),
  plain(
    "run in the host's pid namespace",
    "run --rm --pid host",
    image,
    sh("test $(ls -d /proc/[0-9]* | wc -l) -gt 5 && echo host"),
  ),
  plain(
    "run passes extra hosts",
    "run --rm --add-host a.example:192.0.2.7",
    image,
    sh("grep a.example /etc/hosts | tr '\\t' ' '"),
  ),
  plain(
    "run sets DNS",
    "run --rm --dns 192.0.2.53 --dns-search example.org --dns-option ndots:2",
    image,
    sh("grep -v '^#' /etc/resolv.conf | grep ."),
  ),
  plain(
    "run has /dev/shm of the given size",
    "run --rm --shm-size 32m",
    image,
    sh("df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"),
  ),
  {
    name: "run passes stdin",
    effect: async (docker) => brief(await docker.run(words(`run --rm -i ${image} cat`), "one\ntwo\n")),
  },
  {
    name: "run with an env file and labels",
    effect: async (docker) => {
      const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
      try {
        writeFileSync(join(directory, "env"), "# note\nX=from file\nY=2\n");
        await docker.run(words(`create --name case --env-file ${directory}/env --label a=b --label c ${image}`));
        return {
          env: await inspect(docker, "{{range .Config.Env}}{{println .}}{{end}}"),
          labels: await inspect(docker, "{{json .Config.Labels}}"),
        };
      } finally {
        await docker.run(words("rm -f case"));
        rmSync(directory, { recursive: true });
      }
    },
  },
];

const lifeCases: readonly DockerCase[] = [
  {
    name: "create, start, wait, logs, inspect, rm",
    effect: async (docker) => {
      const created = await docker.run([...words(`create --name case ${image}`), ...sh("echo hi; exit 3")]);
      const before = await inspect(docker, "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}}");
      const started = brief(await docker.run(words("start case")));
      const waited = brief(await docker.run(words("wait case")));
      const logs = brief(await docker.run(words("logs case")));
      const after = await inspect(
        docker,
        "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}} {{.State.Error}} {{.RestartCount}}",
      );
      const removed = brief(await docker.run(words("rm case")));
      return {
        created: created.code,
        before,
        started,
        waited,
        logs,
        after,
        removed,
        gone: errorOnly(await docker.run(words("inspect case"))),
      };
    },
  },
  running(
    "stop with a signal that is heeded",
    "--stop-signal TERM",
    async (docker) => ({
      stop: brief(await docker.run(words("stop -t 5 case"))),
      state: await inspect(docker, "{{.State.Status}} {{.State.ExitCode}}"),
    }),
    sh("trap 'exit 5' TERM; while :; do sleep 0.1; done"),
  ),
  running("stop kills after its time", "--stop-signal TERM", async (docker) => ({
    stop: brief(await docker.run(words("stop -t 1 case"))),
    state: await inspect(docker, "{{.State.Status}} {{.State.ExitCode}}"),
  })),
  running(
    "kill with a signal",
    "",
    async (docker) => ({
      kill: brief(await docker.run(words("kill -s USR1 case"))),
      wait: brief(await docker.run(words("wait case"))),
      again: errorOnly(await docker.run(words("kill case"))),
    }),
    sh("trap 'echo usr1; exit 9' USR1; while :; do sleep 0.1; done"),
  ),
  running("restart", "", async (docker) => {
    const before = await inspect(docker, "{{.State.StartedAt}}");
    const restart = brief(await docker.run(words("restart -t 0 case")));
    return {
      restart,
      changed: before !== (await inspect(docker, "{{.State.StartedAt}}")),
      status: await inspect(docker, "{{.State.Status}}"),
    };
  }),
  running("pause and unpause", "", async (docker) => ({
    pause: brief(await docker.run(words("pause case"))),
    status: await inspect(docker, "{{.State.Status}} {{.State.Paused}} {{.State.Running}}"),
    exec: errorOnly(await docker.run(words("exec case true"))),
    again: errorOnly(await docker.run(words("pause case"))),
    unpause: brief(await docker.run(words("unpause case"))),
    after: await inspect(docker, "{{.State.Status}}"),
  })),
  running("rename", "", async (docker) => {
    const rename = brief(await docker.run(words("rename case case2")));
    const name = await inspect(docker, "{{.Name}}", "case2");
    await docker.run(words("rename case2 case"));
    return { rename, name };
  }),
  running("name conflict", "", async (docker) => errorOnly(await docker.run(words(`create --name case ${image}`)))),
  running("rm of a running container", "", async (docker) => errorOnly(await docker.run(words("rm case")))),
  running("ps with filters and formats", "--label shape=round", async (docker) => ({
    row: brief(
      await docker.run([
        "ps",
        "--filter",
        "name=case",
        "--format",
        "{{.Names}} {{.Image}} {{.State}} {{.Command}} {{.Ports}}",
      ]),
    ),
    label: brief(await docker.run(["ps", "-q", "--filter", "label=shape=round"])),
    none: brief(await docker.run(["ps", "-q", "--filter", "label=shape=square"])),
    ancestor: brief(await docker.run(["ps", "--filter", `ancestor=${image}`, "--format", "{{.Names}}"])),
    exited: brief(
      await docker.run(["ps", "-a", "--filter", "name=case", "--filter", "status=exited", "--format", "{{.Names}}"]),
    ),
    bad: errorOnly(await docker.run(["ps", "--filter", "nosuch=1"])),
  })),
  {
    name: "restart policy on failure",
    effect: async (docker) => {
      await docker.run([...words(`run -d --name case --restart on-failure:2 ${image}`), ...sh("exit 4")]);
      for (
        let tries = 0;
        tries < 100 && (await inspect(docker, "{{.State.Status}} {{.RestartCount}}")) !== "exited 2";
        tries++
      )
        await new Promise((resolve) => setTimeout(resolve, 100));
      const state = await inspect(
        docker,
        "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}} {{json .HostConfig.RestartPolicy}}",
      );
      await docker.run(words("rm -f case"));
      return state;
    },
  },
  {
    name: "health check",
    effect: async (docker) => {
      await docker.run([
        ...words(`run -d --name case --stop-signal KILL --health-cmd`),
        "test -e /ok && echo fine",
        ...words(`--health-interval 300ms --health-retries 2 ${image} sleep 1000`),
      ]);
      const until = async (wanted: string) => {
        for (let tries = 0; tries < 100; tries++) {
          if ((await inspect(docker, "{{.State.Health.Status}}")) === wanted) return wanted;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        return `never ${wanted}`;
      };
      const first = await until("unhealthy");
      await docker.run(words("exec case touch /ok"));
      const second = await until("healthy");
      const output = await inspect(docker, "{{(index .State.Health.Log 0).ExitCode}} {{.State.Health.FailingStreak}}");
      const listed = (await docker.run(["ps", "--filter", "health=healthy", "--format", "{{.Names}}"])).stdout.trim();
      await docker.run(words("rm -f case"));
      return { first, second, output: output.split(" ")[1], listed };
    },
  },
  running("update limits and policy", "-m 64m", async (docker) => ({
    update: brief(
      await docker.run(words("update -m 128m --memory-swap 256m --cpu-shares 512 --restart unless-stopped case")),
    ),
    now: await inspect(docker, "{{.HostConfig.Memory}} {{.HostConfig.CpuShares}} {{.HostConfig.RestartPolicy.Name}}"),
  })),
];

const insideCases: readonly DockerCase[] = [
  running("exec with output, exit code, environment, user, workdir", "", async (docker) => ({
    exec: brief(
      await docker.run([
        ...words("exec -e X=1 -u www -w /var case"),
        ...sh("echo $X $(id -un) $PWD; echo err >&2; exit 6"),
      ]),
    ),
    stdin: brief(await docker.run(words("exec -i case cat"), "through\n")),
    missing: errorOnly(await docker.run(words("exec case nosuchcommand"))),
    detached: brief(await docker.run(words("exec -d case touch /done"))),
  })),
  running("exec in a stopped container", "", async (docker) => {
    await docker.run(words("kill case"));
    await docker.run(words("wait case"));
    return errorOnly(await docker.run(words("exec case true")));
  }),
  running(
    "logs with tail, streams and timestamps",
    "",
    async (docker) => {
      await docker.run(words("wait case"));
      return {
        all: brief(await docker.run(words("logs case"))),
        tail: brief(await docker.run(words("logs --tail 1 case"))),
        stamped: (await docker.run(words("logs -t case"))).stdout
          .split("\n")
          .map((line) => /^\d{4}-\d\d-\d\dT[\d:.]+Z \w+$/.test(line)),
        future: brief(await docker.run(words("logs --since 2099-01-01T00:00:00Z case"))),
      };
    },
    sh("echo three >&2; sleep 0.3; echo one; echo two"),
  ),
  running("cp both ways", "", async (docker) => {
    const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
    try {
      mkdirSync(join(directory, "tree/sub"), { recursive: true });
      writeFileSync(join(directory, "tree/a"), "A");
      writeFileSync(join(directory, "tree/sub/b"), "B");
      const into = brief(await docker.run(["cp", join(directory, "tree"), "case:/tmp/new"]));
      const contents = brief(await docker.run(["cp", `${directory}/tree/.`, "case:/var"]));
      const listed = brief(await docker.run(["exec", "case", "cat", "/tmp/new/a", "/tmp/new/sub/b", "/var/a"]));
      await docker.run(["exec", "case", "ln", "-s", "/etc/passwd", "/tmp/link"]);
      const out = brief(await docker.run(["cp", "case:/tmp/new/sub", join(directory, "out")]));
      const text = readFileSync(join(directory, "out/b"), "utf8");
      const missing = errorOnly(await docker.run(["cp", "case:/nosuch", directory]));
      return { into: into.code, contents: contents.code, listed, out: out.code, text, missing: missing.code };
    } finally {
      rmSync(directory, { recursive: true });
    }
  }),
  running("cp of a tree across a volume", "-v /data/mnt", async (docker) => {
    const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
    try {
      mkdirSync(join(directory, "mnt/deep"), { recursive: true });
      writeFileSync(join(directory, "mnt/deep/in"), "in the volume");
      writeFileSync(join(directory, "beside"), "beside it");
      const { code } = await docker.run(["cp", `${directory}/.`, "case:/data"]);
      const seen = brief(await docker.run(["exec", "case", "cat", "/data/mnt/deep/in", "/data/beside"]));
      return { code, seen };
    } finally {
      rmSync(directory, { recursive: true });
    }
  }),
  {
    name: "cp above a volume before the first start",
    effect: async (docker) => {
      await docker.run(words(`create --name case -v /new/mnt ${image} true`));
      const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
      try {
        writeFileSync(join(directory, "file"), "x");
        const into = errorOnly(await docker.run(["cp", join(directory, "file"), "case:/new/file"]));
        const out = errorOnly(await docker.run(["cp", "case:/new", join(directory, "out")]));
        return { into, out, names: readdirSync(join(directory, "out")).sort() };
      } finally {
        rmSync(directory, { recursive: true });
        await docker.run(words("rm -fv case"));
      }
    },
  },
  running("exec keeps the added groups whoever it runs as", "--group-add 1234", async (docker) => ({
    root: brief(await docker.run(words("exec -u 0 case id -G"))),
    other: brief(await docker.run(words("exec -u 99 case id -G"))),
    inNoDirectory: (await docker.run(words("exec -w /nosuch case true"))).code,
  })),
  {
    name: "log options show in the details",
    effect: async (docker) => {
      await docker.run(
        words(
          `run --name case -l foo=1 -l bar=2 -e ENX=3 --log-opt labels-regex=^f --log-opt env-regex=^EN --log-opt tag={{.Name}} ${image} echo hi`,
        ),
      );
      const details = brief(await docker.run(words("logs --details case")));
      await docker.run(words("rm case"));
      return details;
    },
  },
  plain("run with a device rule for every minor", "run --rm --device-cgroup-rule", ["c 13:* rwm"], `${image} echo ok`),
  refused(
    "run with a protection that is neither on nor off",
    `run --rm --security-opt no-new-privileges=maybe ${image} true`,
  ),
  running("legacy link", "-e USER=me --expose 99/udp --expose 80", async (docker) => {
    const { code, stdout } = await docker.run(words(`run --rm --name linking --link case:my-db ${image} env`));
    const told = stdout.split("\n").filter((line) => line.startsWith("MY_DB"));
    return { code, told: told.map((line) => line.replaceAll(/\d+\.\d+\.\d+\.\d+/g, "ADDRESS")).sort() };
  }),
  running("top", "", async (docker) => {
    const { code, stdout } = await docker.run(words("top case -o pid,comm"));
    return {
      code,
      head: stdout.split("\n")[0]?.trim().split(/\s+/),
      comm: stdout.split("\n")[1]?.trim().split(/\s+/)[1],
    };
  }),
  running("stats once", "", async (docker) => {
    const { code, stdout } = await docker.run(["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "case"]);
    return { code, stdout: stdout.trim() };
  }),
  running("diff", "", async (docker) => {
    await docker.run(["exec", "case", "sh", "-c", "mkdir /d && touch /d/f && rm /etc/group && echo x >> /etc/passwd"]);
    const { code, stdout } = await docker.run(words("diff case"));
    return { code, lines: stdout.trim().split("\n").sort() };
  }),
  running("commit with changes", "-e KEEP=1", async (docker) => {
    await docker.run(["exec", "case", "sh", "-c", "echo new > /new"]);
    const commit = brief(
      await docker.run([
        "commit",
        "-a",
        "me",
        "-m",
        "note",
        "-c",
        'CMD ["cat","/new"]',
        "-c",
        "ENV MORE=2",
        "case",
        "berth-commit:1",
      ]),
    );
    const ran = brief(await docker.run(words("run --rm berth-commit:1")));
    const config = await inspect(
      docker,
      "{{.Author}} {{.Comment}} {{json .Config.Cmd}} {{len .RootFS.Layers}}",
      "berth-commit:1",
    );
    await docker.run(words("rmi berth-commit:1"));
    return { code: commit.code, ran, config };
  }),
  running("export", "", async (docker) => {
    const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
    try {
      const { code } = await docker.run(["export", "-o", join(directory, "x.tar"), "case"]);
      return { code, size: readFileSync(join(directory, "x.tar")).length > 100_000 };
    } finally {
      rmSync(directory, { recursive: true });
    }
  }),
  {
    name: "import with changes",
    effect: async (docker) => {
      const { stdout: id } = await docker.run(words(`create ${image}`));
      const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
      try {
        await docker.run(["export", "-o", join(directory, "x.tar"), id.trim()]);
        const imported = await docker.run([
          "import",
          "-c",
          'CMD ["echo","imported"]',
          join(directory, "x.tar"),
          "berth-import:1",
        ]);
        return { code: imported.code, ran: brief(await docker.run(words("run --rm berth-import:1"))) };
      } finally {
        await docker.run(["rm", id.trim()]);
        await docker.run(words("rmi berth-import:1"));
        rmSync(directory, { recursive: true });
      }
    },
  },
];

const imageCases: readonly DockerCase[] = [
  plain("images by format", "images --format", ["{{.Repository}}:{{.Tag}}"], image),
  {
    name: "image inspect",
    effect: async (docker) =>
      await inspect(
        docker,
        "{{json .RepoTags}} {{.Architecture}} {{.Os}} {{json .Config.Cmd}} {{json .Config.Env}} {{.RootFS.Type}} {{len .RootFS.Layers}}",
        image,
      ),
  },
  {
    name: "history",
    effect: async (docker) => brief(await docker.run(["history", "--format", "{{.CreatedBy}} {{.Comment}}", image])),
  },
  {
    name: "tag and rmi",
    effect: async (docker) => {
      const tagged = brief(await docker.run(words(`tag ${image} other.example:5000/a/b:c`)));
      const listed = brief(
        await docker.run(["images", "--format", "{{.Repository}}:{{.Tag}}", "other.example:5000/a/b"]),
      );
      const removed = brief(await docker.run(words("rmi other.example:5000/a/b:c")));
      return { tagged, listed, removed, missing: errorOnly(await docker.run(words("rmi nosuch:image"))) };
    },
  },
  refused("tag with a bad name", `tag ${image} UPPER:case`),
  refused("inspect of an unknown image", "image inspect nosuch:image"),
  running("rmi of a used image", "", async (docker) => {
    const { code, stderr } = await docker.run(words(`rmi ${image}`));
    return {
      code,
      conflict: /conflict: unable to (remove repository reference|delete).*(must force|must be forced)/.test(stderr),
    };
  }),
  {
    name: "save and load again",
    effect: async (docker) => {
      const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
      try {
        const file = join(directory, "saved.tar");
        await docker.run(words(`tag ${image} berth-saved:1`));
        const saved = await docker.run(["save", "-o", file, "berth-saved:1"]);
        await docker.run(words("rmi berth-saved:1"));
        const loaded = brief(await docker.run(["load", "-i", file]));
        await docker.run(words("rmi berth-saved:1"));
        return { saved: saved.code, loaded };
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  },
  {
    name: "load of nonsense",
    effect: async (docker) => (await docker.run(["load"], "this is no archive".repeat(100))).code,
  },
];

const buildCases: readonly DockerCase[] = [
  {
    name: "build with the usual instructions, then from the cache",
    effect: async (docker) => {
      const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
      try {
        writeFileSync(join(directory, "file.txt"), "content\n");
        writeFileSync(join(directory, ".dockerignore"), "*.secret\n");
        writeFileSync(join(directory, "x.secret"), "hidden");
        writeFileSync(
          join(directory, "Dockerfile"),
          [
            `FROM ${image} AS base`,
            "ARG GREETING=hello",
            "ENV WHO=world GREETING=$GREETING",
            "WORKDIR /app",
            "COPY --chown=www . .",
            'RUN echo "$GREETING $WHO" > said && ls',
            "FROM base",
            "COPY --from=base /app/said /said",
            "USER www",
            "EXPOSE 8080/tcp",
            "LABEL a=b",
            'ENTRYPOINT ["cat"]',
            'CMD ["/said"]',
          ].join("\n"),
        );
        const build = await docker.run(["build", "-t", "berth-built:1", "--build-arg", "GREETING=hi", directory]);
        const steps = build.stdout.split("\n").filter((line) => line.startsWith("Step "));
        const ran = brief(await docker.run(words("run --rm berth-built:1")));
        const listing = brief(await docker.run(words("run --rm --entrypoint ls berth-built:1 -l /app")));
        const again = await docker.run(["build", "-t", "berth-built:1", "--build-arg", "GREETING=hi", directory]);
        const config = await inspect(
          docker,
          "{{json .Config.Entrypoint}} {{json .Config.Cmd}} {{.Config.User}} {{.Config.WorkingDir}} {{json .Config.Labels}} {{json .Config.ExposedPorts}}",
          "berth-built:1",
        );
        return {
          code: build.code,
          steps,
          ran,
          owners: listing.stdout.split("\n").map((line) =>
            line
              .split(/\s+/)
              .filter((_, index) => [0, 2, 8].includes(index))
              .join(" "),
          ),
          cached: again.stdout.split("\n").filter((line) => line.includes("Using cache")).length,
          config,
        };
      } finally {
        await docker.run(words("rmi -f berth-built:1"));
        rmSync(directory, { recursive: true });
      }
    },
  },
  {
    name: "build with a Dockerfile from outside of its context",
    effect: async (docker) => {
      const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
      try {
        writeFileSync(join(directory, "file.txt"), "content\n");
        const build = await docker.run(
          ["build", "--no-cache", "-t", "berth-built:2", "-f", "-", directory],
          `FROM ${image}\nCOPY file.txt /copied\nRUN ln -s copied /link`,
        );
        const ran = brief(await docker.run(words("run --rm berth-built:2 cat /link")));
        // Symbolic links count with what they hold.
        const history = await docker.run(words("history --human=false --format {{.Size}} berth-built:2"));
        return { code: build.code, ran, sizes: history.stdout.split("\n").slice(0, 2) };
      } finally {
        await docker.run(words("rmi -f berth-built:2"));
        rmSync(directory, { recursive: true });
      }
    },
  },
  {
    name: "build whose context is refused while it is being sent",
    effect: async (docker) => {
      const escape = tarOf({ name: "../escape", data: "x" }, { name: "large", data: Buffer.alloc(30_000_000) });
      const { code, stderr } = await docker.run(["build", "-"], escape);
      return { code, answered: stderr.includes("Error response from daemon: ") };
    },
  },
  {
    name: "build whose command fails",
    effect: async (docker) => {
      const { code, stderr } = await docker.run(["build", "-"], `FROM ${image}\nRUN exit 3\n`);
      return { code, error: scrub(stderr).split("\n").at(-1) };
    },
  },
  {
    name: "build of a broken Dockerfile",
    effect: async (docker) => {
      const { code, stderr } = await docker.run(["build", "-"], `FROM ${image}\nNOSUCH thing\n`);
      return { code, line: /line 2/.test(stderr), instruction: /unknown instruction: NOSUCH/.test(stderr) };
    },
  },
];

const networkCases: readonly DockerCase[] = [
  plain("network ls", "network ls --format", ["{{.Name}} {{.Driver}} {{.Scope}}"], "--filter type=builtin"),
  {
    name: "user network with names, aliases and fixed addresses",
    effect: async (docker) => {
      try {
        const created = await docker.run(words("network create --subnet 10.213.7.0/24 --label x=y case-net"));
        await docker.run(
          words(
            `run -d --name case --network case-net --ip 10.213.7.77 --network-alias other --stop-signal KILL ${image} sleep 1000`,
          ),
        );
        const byName = brief(
          await docker.run([
            ...words(`run --rm --network case-net ${image}`),
            ...sh("nslookup case 2>/dev/null | grep -c 10.213.7.77; ping -c1 -W2 other >/dev/null && echo reached"),
          ]),
        );
        const address = await inspect(
          docker,
          '{{(index .NetworkSettings.Networks "case-net").IPAddress}} {{(index .NetworkSettings.Networks "case-net").Gateway}}',
        );
        const members = await inspect(
          docker,
          "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}} {{.Internal}} {{json .Labels}} {{(index .IPAM.Config 0).Subnet}}",
          "case-net",
        );
        const busy = await docker.run(words("network rm case-net"));
        return { created: created.code, byName, address, members, busy: busy.code };
      } finally {
        await docker.run(words("rm -f case"));
        await docker.run(words("network rm case-net"));
      }
    },
  },
  running("connect and disconnect while running", "", async (docker) => {
    await docker.run(words("network create --subnet 10.213.8.0/24 case-net"));
    try {
      const connected = brief(await docker.run(words("network connect --alias late case-net case")));
      const links = brief(await docker.run([...words("exec case"), ...sh("ls /sys/class/net | grep -c eth")]));
      const disconnected = brief(await docker.run(words("network disconnect case-net case")));
      const after = brief(await docker.run([...words("exec case"), ...sh("ls /sys/class/net | grep -c eth")]));
      return {
        connected,
        links,
        disconnected,
        after,
        again: errorOnly(await docker.run(words("network disconnect case-net case"))).code,
      };
    } finally {
      await docker.run(words("network disconnect -f case-net case"));
      await docker.run(words("network rm case-net"));
    }
  }),
  running(
    "published ports",
    "-p 127.0.0.1:0:80 -p 127.0.0.1:0:53/udp",
    async (docker) => {
      const ports = brief(await docker.run(words("port case")));
      const [, port] = /80\/tcp -> 127\.0\.0\.1:(\d+)/.exec(ports.stdout) ?? [];
      const answer = await fetch(`http://127.0.0.1:${port}/etc/passwd`, { signal: AbortSignal.timeout(5000) }).then(
        (response) => response.status,
        String,
      );
      const conflict = await docker.run(words(`run --rm -p 127.0.0.1:${port}:80 ${image} true`));
      return {
        ports: ports.stdout
          .split("\n")
          .map((line) => line.replace(/:\d+$/, ":PORT"))
          .sort(),
        answer,
        conflict: [conflict.code, /port is already allocated/.test(conflict.stderr)],
      };
    },
    sh("httpd -f -p 80 -h /"),
  ),
  running(
    "share a container's network",
    "",
    async (docker) =>
      brief(
        await docker.run([
          ...words(`run --rm --network container:case ${image}`),
          ...sh("wget -qO- http://127.0.0.1:80/etc/hostname | wc -c"),
        ]),
      ),
    sh("httpd -f -p 80 -h /"),
  ),
  refused("remove a predefined network", "network rm bridge"),
  refused("remove an unknown network", "network rm nosuchnet"),
];

const volumeCases: readonly DockerCase[] = [
  {
    name: "named volumes with copy-up, use, refusal, removal",
    effect: async (docker) => {
      try {
        const created = brief(await docker.run(words("volume create --label k=v case-vol")));
        const wrote = brief(
          await docker.run([
            ...words(`run --rm -v case-vol:/etc ${image}`),
            ...sh("ls /etc/passwd && echo kept > /etc/mark"),
          ]),
        );
        const read = brief(await docker.run(words(`run --rm -v case-vol:/v:ro ${image} cat /v/mark`)));
        const readOnly = await docker.run(words(`run --rm -v case-vol:/v:ro ${image} touch /v/x`));
        const listed = brief(
          await docker.run(["volume", "ls", "--format", "{{.Name}} {{.Driver}}", "--filter", "label=k=v"]),
        );
        await docker.run(words(`create --name case -v case-vol:/v ${image}`));
        const busy = await docker.run(words("volume rm case-vol"));
        await docker.run(words("rm case"));
        const removed = brief(await docker.run(words("volume rm case-vol")));
        return {
          created,
          wrote,
          read,
          readOnly: readOnly.code,
          listed,
          busy: [busy.code, /volume is in use/.test(busy.stderr)],
          removed,
        };
      } finally {
        await docker.run(words("rm -f case"));
        await docker.run(words("volume rm -f case-vol"));
      }
    },
  },
  {
    name: "anonymous volumes go with rm -v, and with --rm",
    effect: async (docker) => {
      const count = async () =>
        (await docker.run(words("volume ls -q"))).stdout.split("\n").filter((line) => line !== "").length;
      const before = await count();
      await docker.run(words(`run --rm -v /anonymous ${image} true`));
      const afterRun = (await count()) - before;
      await docker.run(words(`create --name case -v /anonymous ${image}`));
      const during = (await count()) - before;
      await docker.run(words("rm -v case"));
      return { afterRun, during, after: (await count()) - before };
    },
  },
  {
    name: "binds, read-only and not",
    effect: async (docker) => {
      const directory = mkdtempSync(join(tmpdir(), "berth-case-"));
      try {
        writeFileSync(join(directory, "in"), "from the host\n");
        const both = brief(
          await docker.run([...words(`run --rm -v ${directory}:/b ${image}`), ...sh("cat /b/in; echo back > /b/out")]),
        );
        const readOnly = await docker.run(
          words(`run --rm --mount type=bind,src=${directory},dst=/b,readonly ${image} touch /b/x`),
        );
        return { both, back: readFileSync(join(directory, "out"), "utf8"), readOnly: readOnly.code };
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  },
  refused("volume with a bad name", "volume create bad/name"),
  refused("volume inspect of none", "volume inspect nosuchvolume"),
];

const systemCases: readonly DockerCase[] = [
  {
    name: "version and API version",
    effect: async (docker) =>
      (
        await docker.run([
          "version",
          "-f",
          "{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}} {{.Server.Arch}}",
        ])
      ).stdout.trim(),
  },
  {
    name: "info",
    effect: async (docker) =>
      (
        await docker.run([
          "info",
          "-f",
          "{{.OSType}} {{.Architecture}} {{.CgroupVersion}} {{json .Swarm.LocalNodeState}}",
        ])
      ).stdout.trim(),
  },
  {
    name: "events of a container's life",
    effect: async (docker) => {
      // Docker's times are whole seconds here: an event of the second before may slip in, so filter by the container's own name.
      const since = (Date.now() / 1000 - 1).toFixed(0);
      await docker.run(words(`run --rm --name case-events ${image} true`));
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { stdout } = await docker.run([
        "events",
        "--since",
        since,
        "--until",
        (Date.now() / 1000 + 1).toFixed(0),
        "--filter",
        "container=case-events",
        "--format",
        "{{.Type}} {{.Action}}",
      ]);
      return stdout.trim().split("\n").sort();
    },
  },
  {
    name: "system df",
    effect: async (docker) => (await docker.run(["system", "df", "--format", "{{.Type}}"])).stdout.trim().split("\n"),
  },
  {
    name: "container prune",
    effect: async (docker) => {
      await docker.run(words(`create --name case --label prune=me ${image}`));
      const { code, stdout } = await docker.run(words("container prune -f --filter label=prune=me"));
      return {
        code,
        deleted: /Deleted Containers:\n[0-9a-f]{64}/.test(stdout),
        reclaimed: /Total reclaimed space: /.test(stdout),
      };
    },
  },
  {
    name: "swarm is not there",
    effect: async (docker) => errorOnly(await docker.run(words("node ls"))),
  },
];

export const caseImage = image;
export const dockerCases: readonly DockerCase[] = [
  ...runCases,
  ...lifeCases,
  ...insideCases,
  ...imageCases,
  ...buildCases,
  ...networkCases,
  ...volumeCases,
  ...systemCases,
];

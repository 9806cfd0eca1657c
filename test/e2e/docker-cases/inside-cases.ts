/** Getting into a container and things out of it: exec, logs, cp, top, diff, commit, export. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  brief,
  errorOnly,
  image,
  inspect,
  plain,
  refused,
  running,
  sh,
  words,
  type DockerCase,
} from "./docker-case.ts";

export const insideCases: readonly DockerCase[] = [
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
        const names = out.code === 0 ? readdirSync(join(directory, "out")).sort() : [];
        return { into, out, names };
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

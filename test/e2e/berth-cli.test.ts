/** Berth's own command line, as people type it. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess, entry } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { runCommand } from "../support/run-command.ts";

const image = "berth-cli:1";

describe("berth", () => {
  let engine: EngineProcess;
  let scratch: string;

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), "berth-cli-"));
    engine = await EngineProcess.start();
    writeFileSync(join(scratch, "image.tar"), await busyboxArchive({ tags: [image] }));
    expect(await engine.berth("load", "-i", join(scratch, "image.tar"))).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("Loaded image: berth-cli:1"),
    });
  });
  afterAll(async () => {
    rmSync(scratch, { recursive: true });
    await engine.remove();
    await assertNothingLeft(engine);
  });

  it("prints the way out of an error also where it comes in a stream", async () => {
    expect(await engine.berth("run", "-d", "--name", "hints", image, "sleep", "1000")).toMatchObject({ code: 0 });
    expect(await engine.berth("exec", "hints", "nosuch")).toEqual({
      code: 127,
      stdout: expect.stringContaining('exec: "nosuch": executable file not found in $PATH'),
      stderr: "check that the image holds nosuch, or give another command\n",
    });
    await engine.berth("rm", "-f", "hints");
    writeFileSync(join(scratch, "junk.tar"), "junk");
    expect(await engine.berth("load", "-i", join(scratch, "junk.tar"))).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^berth: .+\n.+\n$/),
    });
  });

  it("runs with output, errors and exit codes in their places", async () => {
    expect(await engine.berth("run", "--rm", "-e", "A=1", image, "sh", "-c", "echo $A; echo err >&2; exit 7")).toEqual({
      code: 7,
      stdout: "1\n",
      stderr: "err\n",
    });
    expect(await engine.berth("run", "--rm", "--nosuchflag", image)).toMatchObject({
      code: 125,
      stderr: expect.stringContaining("unknown flag: --nosuchflag"),
    });
    expect(await engine.berth("run", "--rm", image, "nosuchcommand")).toMatchObject({ code: 127 });
  });

  it("copies trees out with links, modes, owners and times, and replaces what is there", async () => {
    const berth = (...words: string[]) => engine.berth(...words);
    const make =
      "cd /srv; echo x > f; ln f hard; ln -s f soft; chown 5:6 f; chmod 4750 f; touch -d '2020-01-01 00:00:00' f";
    await berth(
      "run",
      "-d",
      "--name",
      "cli-tree",
      "--stop-signal",
      "KILL",
      image,
      "sh",
      "-c",
      "mkdir -p /srv; sleep 60",
    );
    try {
      expect(await berth("exec", "cli-tree", "sh", "-c", `mkdir -p /srv; ${make}`)).toMatchObject({
        code: 0,
        stderr: "",
      });
      const tree = join(scratch, "tree");
      expect(await berth("cp", "-a", "cli-tree:/srv", tree)).toMatchObject({ code: 0, stderr: "" });
      const { mode, uid, gid, mtimeMs, nlink } = statSync(join(tree, "f"));
      expect([mode & 0o7777, uid, gid, mtimeMs, nlink]).toEqual([0o4750, 5, 6, Date.parse("2020-01-01T00:00:00Z"), 2]);
      // Over what is there already, whose link must not be written through.
      rmSync(join(tree, "f"));
      symlinkSync(join(scratch, "outside"), join(tree, "f"));
      expect(await berth("cp", "cli-tree:/srv/.", tree)).toMatchObject({ code: 0, stderr: "" });
      expect(readFileSync(join(tree, "f"), "utf8")).toBe("x\n");
      expect(existsSync(join(scratch, "outside"))).toBe(false);
      expect(await berth("cp", "-L", "cli-tree:/srv/soft", join(scratch, "followed"))).toMatchObject({ code: 0 });
      expect(readFileSync(join(scratch, "followed"), "utf8")).toBe("x\n");
      expect(await berth("cp", "cli-tree:/srv", join(tree, "f"))).toEqual({
        code: 1,
        stdout: "",
        stderr: expect.stringContaining("a directory can't be copied over a file"),
      });
    } finally {
      await berth("rm", "-f", "cli-tree");
    }
  });

  it("lives through a container's life", async () => {
    const berth = async (...words: string[]) => {
      const { code, stdout, stderr } = await engine.berth(...words);
      if (code !== 0) throw new Error(`berth ${words.join(" ")}: ${stderr}`);
      return stdout.trim();
    };
    await berth("network", "create", "cli-net");
    await berth("volume", "create", "cli-vol");
    await berth(
      "run",
      "-d",
      "--name",
      "cli-web",
      "--network",
      "cli-net",
      "-v",
      "cli-vol:/data",
      "-p",
      "127.0.0.1:0:80",
      "--stop-signal",
      "KILL",
      image,
      "httpd",
      "-f",
      "-p",
      "80",
      "-h",
      "/etc",
    );
    expect(await berth("ps", "--format", "{{.Names}} {{.State}} {{.Image}}")).toBe(`cli-web running ${image}`);
    const address = await berth("port", "cli-web", "80");
    expect(await (await fetch(`http://${address}/passwd`)).text()).toContain("root:");
    expect(await berth("exec", "cli-web", "sh", "-c", "echo kept > /data/file; cat /data/file")).toBe("kept");
    writeFileSync(join(scratch, "up"), "from here\n");
    await berth("cp", join(scratch, "up"), "cli-web:/tmp/there");
    await berth("cp", "cli-web:/tmp/there", join(scratch, "down"));
    expect(readFileSync(join(scratch, "down"), "utf8")).toBe("from here\n");
    expect(await berth("inspect", "-f", "{{.State.Status}} {{json .HostConfig.RestartPolicy}}", "cli-web")).toBe(
      'running {"Name":"no","MaximumRetryCount":0}',
    );
    expect(await berth("top", "cli-web")).toContain("httpd");
    expect(await berth("stats", "--no-stream", "--format", "{{.Name}}", "cli-web")).toBe("cli-web");
    expect(await berth("diff", "cli-web")).toContain("A /tmp/there");
    await berth("commit", "-c", 'CMD ["cat","/tmp/there"]', "cli-web", "cli-commit:1");
    expect(await berth("run", "--rm", "cli-commit:1")).toBe("from here");
    await berth("stop", "-t", "1", "cli-web");
    await berth("rm", "cli-web");
    await berth("rmi", "cli-commit:1");
    await berth("network", "rm", "cli-net");
    await berth("volume", "rm", "cli-vol");
  });

  it("builds", async () => {
    writeFileSync(
      join(scratch, "Dockerfile"),
      `FROM ${image}\nCOPY up /up\nRUN cat /up > /copy\nCMD ["cat","/copy"]\n`,
    );
    writeFileSync(join(scratch, "up"), "built\n");
    expect(await engine.berth("build", "-t", "cli-built:1", scratch)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("Successfully tagged cli-built:1"),
    });
    expect(await engine.berth("run", "--rm", "cli-built:1")).toMatchObject({ stdout: "built\n" });
    writeFileSync(join(scratch, "Dockerfile"), `FROM ${image}\nRNU x\n`);
    expect(await engine.berth("build", scratch)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/line 2.*unknown instruction: RNU/s),
    });
    await engine.berth("rmi", "cli-built:1");
  });

  it("gives a terminal, with the host's size, and leaves by the detach keys", async () => {
    const command = `stty rows 33 cols 111; ${process.execPath} --disable-warning=ExperimentalWarning ${entry} -H ${engine.host} run --rm -it ${image} sh -c 'sleep 0.5; stty size; exit 5'; echo code $?`;
    const { stdout } = await runCommand("script", ["-qec", command, "/dev/null"]);
    expect(stdout).toMatch(/33 111[\s\S]*code 5/);
  });

  it("says what is wrong and what to do", async () => {
    expect(await engine.berth("nosuch")).toMatchObject({
      code: 125,
      stderr: expect.stringContaining("'nosuch' is not a berth command"),
    });
    expect(await engine.berth("rm", "nosuch")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("No such container: nosuch"),
    });
    expect(await engine.berth("run", "-p", "99999:80", image)).toMatchObject({
      code: 125,
      stderr: expect.stringContaining("99999:80"),
    });
    expect(await engine.berth("ps", "--format", "{{.Names")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("template parsing error"),
    });
    const elsewhere = await runCommand(process.execPath, [
      "--disable-warning=ExperimentalWarning",
      entry,
      "-H",
      "unix:///nonexistent.sock",
      "ps",
    ]);
    expect(elsewhere).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("Cannot connect to the Berth engine at unix:///nonexistent.sock"),
    });
  });

  it("shows the engine, its settings and its host", async () => {
    expect(await engine.berth("info")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/OCI runtime: +(crun|runc) \d/),
    });
    const verbose = await engine.berth("system", "df", "-v");
    expect(verbose.stdout).toMatch(/Images:\n\nIMAGE +IMAGE ID +SIZE[\s\S]*berth-cli:1[\s\S]*Local Volumes:/);
    const backing = (await engine.docker("info", "-f", "{{index .DriverStatus 0}}")).stdout;
    const real = (await runCommand("findmnt", ["-no", "FSTYPE", "--target", engine.dataRoot])).stdout.trim();
    expect(backing.trim()).toBe(`[Backing Filesystem ${real}]`);
    expect(await engine.berth("config", "show")).toMatchObject({ code: 0 });
    expect(await engine.berth("completion", "bash")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("complete -o default -F _berth berth"),
    });
  });
});

/** Instances as virtual machines, by the docker client and by Berth's own: the same verbs, with a kernel of their own. Under emulation. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox-image.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { guestKernelPackage } from "../support/guest-kernel.ts";
import { runCommand } from "../support/run-command.ts";

const image = "berth-vm:1";

describe("virtual machines", () => {
  let engine: EngineProcess;
  let scratch: string;
  const vm = (...words: readonly string[]) => engine.docker("run", "--runtime", "vm", ...words);

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), "berth-vm-"));
    if (!existsSync("dist/guest/berth-vmm")) execFileSync("sh", ["guest/build.sh"]);
    engine = await EngineProcess.start({
      environment: { BERTH_GUEST_KERNEL: guestKernelPackage() },
    });
    writeFileSync(join(scratch, "image.tar"), await busyboxArchive({ tags: [image] }));
    await engine.docker("load", "-i", join(scratch, "image.tar"));
    // Makes the kernel, the disks: the rest is quick.
    expect(await vm("--rm", image, "true")).toEqual({ code: 0, stdout: "", stderr: "" });
  });
  afterAll(async () => {
    rmSync(scratch, { recursive: true });
    await engine.remove();
    await assertNothingLeft(engine);
  });

  it("runs with its streams, environment, user, directory and exit code", async () => {
    // Not what the image's disk has as a file system.
    const script = "echo $A $(id -u) $(pwd) $(hostname); ls -d /lost+found 2>/dev/null; echo err >&2; exit 7";
    const run = await vm("--rm", "-e", "A=1", "-u", "1000", "-w", "/tmp", "-h", "web", image, "sh", "-c", script);
    expect(run).toEqual({ code: 7, stdout: "1 1000 /tmp web\n", stderr: "err\n" });
  });

  it("has its processors as its size, its other limits as a container", async () => {
    const look = "grep -c ^processor /proc/cpuinfo; cd /sys/fs/cgroup; cat memory.max pids.max; sleep 1000";
    await vm("-d", "--name", "vm-limits", "-m", "128m", "--cpus", "2", "--pids-limit", "20", image, "sh", "-c", look);
    const logs = async () => (await engine.docker("logs", "vm-limits")).stdout;
    await expect.poll(logs, { timeout: 20_000 }).toBe(`2\n${128 * 1024 * 1024}\n20\n`);
    expect(await engine.docker("update", "-m", "100m", "vm-limits")).toMatchObject({
      code: 0,
    });
    expect(await engine.docker("exec", "vm-limits", "cat", "/sys/fs/cgroup/memory.max")).toMatchObject({
      stdout: `${100 * 1024 * 1024}\n`,
    });
    expect(await engine.docker("update", "-m", "1g", "--memory-swap", "2g", "vm-limits")).toMatchObject({
      stderr: expect.stringContaining("can't have more memory while it runs"),
    });
    const forks = "i=0; while [ $i -lt 30 ]; do sleep 100 >/dev/null 2>&1 & i=$((i+1)); done 2>&1";
    expect(await engine.docker("exec", "vm-limits", "sh", "-c", forks)).toMatchObject({
      stdout: expect.stringContaining("can't fork"),
    });
    await engine.docker("rm", "-f", "vm-limits");
    const hungry = await vm("--name", "vm-limits", "-m", "16m", image, "sh", "-c", "x=a; while :; do x=$x$x; done");
    expect(hungry.code).toBe(137);
    expect((await engine.docker("inspect", "-f", "{{.State.OOMKilled}}", "vm-limits")).stdout).toBe("true\n");
    await engine.docker("rm", "vm-limits");
  });

  it("has an init that reaps and passes signals on, when one is asked for", async () => {
    const orphan =
      "cat /proc/1/comm; (sleep 0.2 &); sleep 0.6; ps -o stat | grep -c Z; trap 'exit 6' TERM; echo up; while :; do sleep 0.1; done";
    await vm("-d", "--init", "--name", "vm-init", image, "sh", "-c", orphan);
    const logs = async () => (await engine.docker("logs", "vm-init")).stdout;
    await expect.poll(logs, { timeout: 20_000 }).toBe("docker-init\n0\nup\n");
    await engine.docker("stop", "-t", "20", "vm-init");
    expect((await engine.docker("inspect", "-f", "{{.State.ExitCode}}", "vm-init")).stdout).toBe("6\n");
    await engine.docker("rm", "vm-init");
  });

  it("names a command that is not there, with Docker's exit code", async () => {
    expect(await vm("--rm", image, "nosuchcommand")).toMatchObject({
      code: 127,
      stderr: expect.stringContaining('exec: "nosuchcommand": executable file not found in $PATH'),
    });
    expect(await engine.docker("ps", "-aq")).toMatchObject({ stdout: "" });
  });

  it("takes commands beside its process, keeps its files over a restart, and stops as it was told", async () => {
    const script = "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.2; done";
    await vm("-d", "--name", "vm-life", image, "sh", "-c", script);
    expect(await engine.docker("exec", "vm-life", "sh", "-c", "echo kept > /kept; echo err >&2; exit 3")).toEqual({
      code: 3,
      stdout: "",
      stderr: "err\n",
    });
    expect(
      await engine.docker(
        "exec",
        "-u",
        "1000:1000",
        "-w",
        "/tmp",
        "-e",
        "A=b",
        "vm-life",
        "sh",
        "-c",
        "echo $A $(id -u):$(id -g) $(pwd)",
      ),
    ).toMatchObject({ stdout: "b 1000:1000 /tmp\n" });
    expect(await engine.docker("inspect", "-f", "{{.HostConfig.Runtime}}", "vm-life")).toMatchObject({
      stdout: "vm\n",
    });
    await engine.docker("pause", "vm-life");
    expect(await engine.docker("exec", "vm-life", "true")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("is paused"),
    });
    await engine.docker("unpause", "vm-life");
    await engine.docker("stop", "vm-life");
    expect(await engine.docker("inspect", "-f", "{{.State.ExitCode}}", "vm-life")).toMatchObject({ stdout: "9\n" });
    expect(await engine.docker("logs", "vm-life")).toMatchObject({ stdout: "up\nbye\n" });
    await engine.docker("start", "vm-life");
    expect(await engine.docker("exec", "vm-life", "cat", "/kept")).toMatchObject({ stdout: "kept\n" });
    await engine.docker("kill", "vm-life");
    expect(await engine.docker("wait", "vm-life")).toMatchObject({ stdout: "137\n" });
    await engine.docker("rm", "vm-life");
  });

  it("reaches containers by name, and they it; a published port leads to it; the engine's death changes nothing", async () => {
    const serve = (text: string) => [
      "sh",
      "-c",
      `mkdir -p /www; echo ${text} > /www/index.html; httpd -f -p 80 -h /www`,
    ];
    await engine.docker("network", "create", "vm-net");
    await vm("-d", "--name", "vm-web", "--network", "vm-net", "-p", "127.0.0.1::80", image, ...serve("machine"));
    await engine.docker("run", "-d", "--name", "ct-web", "--network", "vm-net", image, ...serve("container"));
    // Its server may not listen yet.
    const patient = (name: string) =>
      `for i in $(seq 50); do wget -qO- http://${name}/ && exit; sleep 0.1; done; exit 1`;
    const get = (from: string, name: string) => engine.docker("exec", from, "sh", "-c", patient(name));
    expect(await get("vm-web", "ct-web")).toMatchObject({ stdout: "container\n" });
    expect(await get("ct-web", "vm-web")).toMatchObject({ stdout: "machine\n" });
    await engine.crash();
    await engine.boot();
    const address = (await engine.docker("port", "vm-web", "80")).stdout.trim();
    expect(await (await fetch(`http://${address}/`)).text()).toBe("machine\n");
    expect(await get("ct-web", "vm-web")).toMatchObject({ stdout: "machine\n" });
    const joining = await engine.docker("run", "--rm", "--network", "container:vm-web", image, "true");
    expect(joining.stderr).toContain("cannot join network namespace of vm-web: it is a virtual machine");
    await engine.docker("rm", "-f", "vm-web", "ct-web");
  });

  it("knows the names of all its networks, an internal one among them, also after a restart", async () => {
    await engine.docker("network", "create", "vm-front");
    await engine.docker("network", "create", "--internal", "vm-back");
    await engine.docker("run", "-d", "--name", "front", "--network", "vm-front", image, "sleep", "1000");
    await engine.docker("run", "-d", "--name", "back", "--network", "vm-back", image, "sleep", "1000");
    await engine.docker("create", "--runtime", "vm", "--name", "both", "--network", "vm-front", image, "sleep", "1000");
    expect(await engine.docker("network", "connect", "vm-back", "both")).toMatchObject({ code: 0 });
    await engine.docker("start", "both");
    for (const round of ["started", "restarted"]) {
      for (const name of ["front", "back", "both"]) {
        const asked = await engine.docker("exec", "both", "ping", "-c", "1", "-W", "5", name);
        expect(asked, `${name}, ${round}`).toMatchObject({ code: 0 });
      }
      expect(await engine.docker("exec", "both", "nslookup", "nosuch")).toMatchObject({ code: 1 });
      expect(await engine.docker("exec", "back", "ping", "-c", "1", "-W", "5", "both")).toMatchObject({ code: 0 });
      if (round === "started") await engine.docker("restart", "-t", "1", "both");
    }
    await engine.docker("rm", "-f", "front", "back", "both");
    await engine.docker("network", "rm", "vm-front", "vm-back");
  });

  it("copies files in and out, exports its root, lists its processes and what it uses", async () => {
    await vm("-d", "--name", "vm-files", "-m", "128m", image, "sh", "-c", "sleep 1000");
    writeFileSync(join(scratch, "in.txt"), "in\n", { mode: 0o640 });
    await engine.docker("cp", join(scratch, "in.txt"), "vm-files:/tmp/");
    expect(await engine.docker("exec", "vm-files", "stat", "-c", "%a %s", "/tmp/in.txt")).toMatchObject({
      stdout: "640 3\n",
    });
    await engine.docker("exec", "vm-files", "sh", "-c", "mkdir -p /out/d; echo out > /out/d/f; ln -s d/f /out/l");
    expect(await engine.docker("cp", "vm-files:/out", join(scratch, "out"))).toMatchObject({ code: 0 });
    expect(readFileSync(join(scratch, "out", "l"), "utf8")).toBe("out\n");
    expect(await engine.docker("cp", "vm-files:/nosuch", scratch)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("Could not find the file /nosuch"),
    });
    expect(await engine.docker("export", "-o", join(scratch, "root.tar"), "vm-files")).toMatchObject({ code: 0 });
    const names = execFileSync("tar", ["tf", join(scratch, "root.tar")], { encoding: "utf8" }).split("\n");
    expect(names).toEqual(expect.arrayContaining(["./out/d/f", "./bin/busybox", "./proc/"]));
    expect(names.filter((name) => name.startsWith("./proc/") || name.startsWith("./sys/")).toSorted()).toEqual([
      "./proc/",
      "./sys/",
    ]);
    expect(await engine.docker("top", "vm-files")).toMatchObject({
      stdout: expect.stringMatching(/\b1\b.*sleep 1000/),
    });
    const usage = await engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "vm-files");
    expect(usage.stdout).toMatch(/^\d+(\.\d+)?MiB \/ 128MiB [12]\n$/);
    await engine.docker("rm", "-f", "vm-files");
  });

  it("tells what was changed as a container does, and its commit is an image for both", async () => {
    const script = [
      "mkdir -p /opt/d; echo new > /opt/d/new; ln /opt/d/new /opt/d/hard; chmod 4755 /opt/d/new; mkfifo /opt/fifo",
      "rm /bin/cat; rm -r /var; mkdir /var; echo x > /var/x; sleep 1000",
    ].join("; ");
    await vm("-d", "--name", "vm-made", image, "sh", "-c", script);
    await engine.docker("run", "-d", "--name", "ct-made", image, "sh", "-c", script);
    const changes = async (name: string) => (await engine.docker("diff", name)).stdout;
    await expect.poll(() => changes("vm-made"), { timeout: 10_000 }).toContain("A /var/x\n");
    expect(await changes("vm-made")).toBe(await changes("ct-made"));
    const tree = "(ls -l /bin/cat 2>&1; find /opt /var -exec stat -c '%n %F %a %h %u:%g' {} +) | sort";
    const seen: string[] = [];
    for (const from of ["vm-made", "ct-made"]) {
      expect(await engine.docker("commit", from, `berth-vm:${from}`)).toMatchObject({ code: 0 });
      seen.push((await vm("--rm", `berth-vm:${from}`, "sh", "-c", tree)).stdout);
      seen.push((await engine.docker("run", "--rm", `berth-vm:${from}`, "sh", "-c", tree)).stdout);
    }
    expect(seen[0]).toContain("/opt/d/hard regular file 4755 2 0:0\n");
    expect(new Set(seen).size, seen.join("\n")).toBe(1);
    await engine.docker("rm", "-f", "vm-made", "ct-made");
    await engine.docker("rmi", "berth-vm:vm-made", "berth-vm:ct-made");
  });

  it("has its files copied, compared and committed while it is stopped, by a machine that is gone again soon", async () => {
    const made = ["create", "--name", "vm-rest", "--runtime", "vm", "-u", "1000", "-v", "rest:/vol", image];
    expect(await engine.docker(...made, "sh", "-c", "cat /tmp/in; sleep 1000")).toMatchObject({ code: 0 });
    writeFileSync(join(scratch, "in"), "in\n", { mode: 0o600 });
    expect(await engine.docker("cp", "-a", join(scratch, "in"), "vm-rest:/tmp/in")).toMatchObject({ code: 0 });
    expect(await engine.docker("cp", join(scratch, "in"), "vm-rest:/vol/")).toMatchObject({ code: 0 });
    expect(await engine.docker("cp", "vm-rest:/tmp/in", join(scratch, "back"))).toMatchObject({ code: 0 });
    expect(readFileSync(join(scratch, "back"), "utf8")).toBe("in\n");
    // At once: what was there for its files is gone before it is started.
    await engine.docker("start", "vm-rest");
    expect(await engine.docker("exec", "vm-rest", "stat", "-c", "%u %a", "/tmp/in")).toMatchObject({
      stdout: "1000 600\n",
    });
    expect(await engine.docker("exec", "-u", "0", "vm-rest", "cat", "/vol/in")).toMatchObject({ stdout: "in\n" });
    await engine.docker("exec", "-u", "0", "vm-rest", "sh", "-c", "echo late > /late; rm /bin/cat");
    await engine.docker("kill", "vm-rest");
    expect((await engine.docker("diff", "vm-rest")).stdout).toBe(
      "C /bin\nD /bin/cat\nA /late\nC /tmp\nA /tmp/in\nA /vol\n",
    );
    expect(await engine.docker("commit", "vm-rest", "berth-vm:rest")).toMatchObject({ code: 0 });
    expect(await engine.docker("run", "--rm", "berth-vm:rest", "ls", "/late", "/bin/cat")).toMatchObject({
      stdout: "/late\n",
      stderr: expect.stringContaining("/bin/cat"),
    });
    expect(await engine.docker("export", "-o", join(scratch, "rest.tar"), "vm-rest")).toMatchObject({ code: 0 });
    expect(execFileSync("tar", ["tf", join(scratch, "rest.tar")], { encoding: "utf8" })).toContain("./late\n");
    expect(await engine.docker("ps", "-a", "--format", "{{.Names}} {{.State}}")).toMatchObject({
      stdout: "vm-rest exited\n",
    });
    // The engine dies meanwhile: the next one finds nothing to keep.
    await engine.crash();
    await engine.boot();
    expect(readdirSync(join(engine.runRoot, "instances"))).toEqual([]);
    await engine.docker("rm", "-v", "vm-rest");
    await engine.docker("rmi", "berth-vm:rest");
    await engine.docker("volume", "rm", "rest");
  });

  it("is killed, stopped and removed while it boots, and interrupted", async () => {
    const starting = async (name: string, act: readonly string[]) => {
      // With a volume it boots: a template would be there before we are.
      const words = ["create", "--name", name, "--runtime", "vm", "-v", "/boot", image, "sleep", "1000"];
      const made = await engine.docker(...words);
      const directory = join(engine.runRoot, "instances", made.stdout.trim());
      const started = engine.docker("start", name);
      await expect.poll(() => existsSync(directory), { timeout: 20_000, interval: 10 }).toBe(true);
      const acted = await engine.docker(...act, name);
      return [acted.code, (await started).stderr] as const;
    };
    const brokenOff = expect.stringMatching(/was broken off: it was (killed|stopped|removed) before its process ran/);
    expect(await starting("vm-boot1", ["kill"])).toEqual([0, brokenOff]);
    expect(await starting("vm-boot2", ["stop", "-t", "0"])).toEqual([0, brokenOff]);
    expect(await starting("vm-boot3", ["rm", "-f", "-v"])).toEqual([0, brokenOff]);
    expect(await engine.docker("ps", "-a", "--format", "{{.Names}} {{.State}}")).toMatchObject({
      stdout: "vm-boot2 created\nvm-boot1 created\n",
    });
    const interrupted = `(sleep 0.5; printf '\\003') | docker run --rm -it --runtime vm ${image} sleep 1000`;
    const run = await runCommand("script", ["-qec", interrupted, "/dev/null"], { env: { DOCKER_HOST: engine.host } });
    expect([130, 1]).toContain(run.code);
    await engine.docker("rm", "-v", "vm-boot1", "vm-boot2");
  });

  it("tells after the engine's death in a boot what became of that", async () => {
    const made = await engine.docker("create", "--name", "vm-lost", "--runtime", "vm", image, "nosuchcommand");
    const socket = join(engine.runRoot, "instances", made.stdout.trim(), "run", "agent.sock");
    const started = engine.docker("start", "vm-lost");
    const booting = () => existsSync(socket);
    await expect.poll(booting, { timeout: 20_000, interval: 10 }).toBe(true);
    await engine.crash();
    await started;
    await engine.boot();
    const state = ["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}", "vm-lost"] as const;
    await expect
      .poll(async () => (await engine.docker(...state)).stdout, { timeout: 30_000, interval: 200 })
      .toMatch(/^(exited|created) 127 .*"nosuchcommand": executable file not found/);
    await engine.docker("rm", "vm-lost");
  });

  it("says that the guest's kernel has killed for memory", async () => {
    await vm("--name", "vm-oom", "-m", "96m", image, "tail", "/dev/zero");
    expect(await engine.docker("inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}}", "vm-oom")).toMatchObject({
      stdout: "137 true\n",
    });
    const until = String(Math.ceil(Date.now() / 1000) + 1);
    const events = await engine.docker("events", "--since", "1h", "--until", until, "--filter", "event=oom");
    expect(events.stdout).toContain("name=vm-oom");
    await engine.docker("rm", "vm-oom");
  });

  it("has files of the host and volumes as a container has them, and nothing beside them", async () => {
    const data = join(scratch, "data");
    const secrets = join(scratch, "secrets");
    for (const directory of [data, secrets]) mkdirSync(directory);
    writeFileSync(join(data, "f"), "from the host\n");
    writeFileSync(join(secrets, "one"), "one\n");
    writeFileSync(join(secrets, "other"), "other\n");
    symlinkSync(join(secrets, "other"), join(data, "away"));
    symlinkSync("../../../../../../../../../../etc/hostname", join(data, "up"));
    const shares = [
      "-v",
      `${data}:/data`,
      "-v",
      `${data}:/fixed:ro`,
      "-v",
      `${secrets}/one:/etc/one`,
      "-v",
      "vol:/vol",
    ];
    const more = ["--tmpfs", "/data/tmp", "--privileged", "-h", "guest"];
    await vm("-d", "--name", "vm-data", ...shares, ...more, image, "sleep", "1000");
    const sh = async (script: string) => (await engine.docker("exec", "vm-data", "sh", "-c", script)).stdout;

    expect(await sh("cat /data/f /etc/one; echo x >> /data/f; echo two > /etc/one")).toBe("from the host\none\n");
    expect(readFileSync(join(data, "f"), "utf8") + readFileSync(join(secrets, "one"), "utf8")).toBe(
      "from the host\nx\ntwo\n",
    );
    const owned = "cd /data; touch o; chown 12:34 o; chmod 4751 o; ln o hard; ln -s o soft; mkdir d; mv d e";
    expect(await sh(`${owned}; exec 7>gone; rm gone; echo open >&7; cat /proc/self/fd/7`)).toBe("open\n");
    const { uid, gid, mode, nlink } = lstatSync(join(data, "o"));
    expect([uid, gid, mode & 0o7777, nlink]).toEqual([12, 34, 0o4751, 2]);
    expect(readdirSync(data).toSorted()).toEqual(["away", "e", "f", "hard", "o", "soft", "tmp", "up"]);

    const refused = "for f in /fixed/new /fixed/f; do echo y > $f || echo read-only; done 2>/dev/null; rm /fixed/f";
    expect(await sh(`${refused}; ls /fixed/f`)).toBe("read-only\nread-only\n/fixed/f\n");
    // Also for a root that mounts what the host shares once more: no sibling, no way up, nothing made read-only is writable.
    const again =
      "mkdir /all; mount -t virtiofs shares /all && echo mounted; cd /all; ls; ls ..; cat */away */up 2>/dev/null; echo y > 1/new";
    expect(await sh(`${again}; ls */other`)).toMatch(/^mounted\n(?!.*(other|secrets))/s);
    expect(existsSync(join(data, "new"))).toBe(false);

    writeFileSync(join(data, "f"), "changed\n");
    await delay(60);
    expect(await sh("cat /data/f; echo shared > /vol/f")).toBe("changed\n");
    expect(await engine.docker("run", "--rm", "-v", "vol:/vol", image, "cat", "/vol/f")).toMatchObject({
      stdout: "shared\n",
    });
    await engine.docker("restart", "-t", "0", "vm-data");
    expect(await sh("cat /data/f /vol/f")).toBe("changed\nshared\n");
    await engine.docker("rm", "-f", "vm-data");
  });

  it("runs an image that declares a volume, with what the image has there", async () => {
    const files = { "srv/data/seed": "seed\n" };
    const config = { Volumes: { "/srv/data": {} } };
    writeFileSync(join(scratch, "volume.tar"), await busyboxArchive({ tags: ["berth-vm:volume"], files, config }));
    await engine.docker("load", "-i", join(scratch, "volume.tar"));
    const script = "cat /srv/data/seed; grep -c ' /srv/data virtiofs ' /proc/mounts";
    expect(await vm("--rm", "berth-vm:volume", "sh", "-c", script)).toMatchObject({ stdout: "seed\n1\n" });
    expect((await engine.docker("volume", "ls", "-q")).stdout.split("\n").filter(Boolean)).toEqual(["vol"]);
  });

  it("gives the guest's process the walls that were asked for", async () => {
    const script = [
      "touch /x 2>/dev/null || echo read-only",
      "grep -q ' /cache tmpfs .*size=1024k' /proc/mounts && echo tmpfs",
      "ulimit -n",
      "cat /proc/sys/net/core/somaxconn",
      "grep CapEff /proc/self/status",
      "cat /proc/self/cgroup; test -e /sys/fs/cgroup/cgroup.procs && echo group",
    ].join("; ");
    const walls = [
      "--read-only",
      "--tmpfs",
      "/cache:size=1m",
      "--ulimit",
      "nofile=64:64",
      "--sysctl",
      "net.core.somaxconn=99",
    ];
    expect(await vm("--rm", ...walls, "--cap-drop", "ALL", image, "sh", "-c", script)).toMatchObject({
      stdout: "read-only\ntmpfs\n64\n99\nCapEff:\t0000000000000000\n0::/\ngroup\n",
    });
  });

  it("has a terminal that follows the client's", async () => {
    const waiting = `until [ "$(stty size)" = "44 99" ]; do sleep 0.1; done; echo followed; exit 4`;
    const resized = [
      "stty rows 33 cols 99",
      "(sleep 3; stty rows 44 < /dev/tty) &",
      `exec docker run --rm -t --runtime vm ${image} sh -c '${waiting}'`,
    ].join("\n");
    const run = await runCommand("script", ["-qec", resized, "/dev/null"], { env: { DOCKER_HOST: engine.host } });
    expect(run).toMatchObject({ code: 4, stdout: expect.stringContaining("followed") });
  });

  it("answers Berth's own command line, and its image's disk goes with the image", async () => {
    writeFileSync(
      join(scratch, "other.tar"),
      await busyboxArchive({ tags: ["berth-vm:other"], files: { "srv/only": "here" } }),
    );
    await engine.docker("load", "-i", join(scratch, "other.tar"));
    const disks = join(engine.dataRoot, "machines", "images");
    const before = readdirSync(disks).toSorted();
    expect(await engine.berth("run", "--rm", "--vm", "berth-vm:other", "cat", "/srv/only")).toMatchObject({
      code: 0,
      stdout: "here",
    });
    expect(readdirSync(disks)).toHaveLength(before.length + 1);
    await engine.docker("rmi", "berth-vm:other");
    // What the instance had is removed behind the client's back.
    await expect.poll(() => readdirSync(disks).toSorted(), { timeout: 10_000 }).toEqual(before);
    expect((await engine.berth("info")).stdout).toMatch(/Virtual machines: +(KVM|emulation)/);
  });

  it("refuses by name what it can't have", async () => {
    expect(await vm("--rm", "-v", "/tmp:/x:shared", image, "true")).toMatchObject({
      code: 125,
      stderr: expect.stringContaining("a virtual machine can't have a bind with shared propagation"),
    });
    expect(await vm("--rm", "-v", `${engine.host.slice("unix://".length)}:/docker.sock`, image, "true")).toMatchObject({
      code: 125,
      stderr: expect.stringContaining("can't have the socket"),
    });
    expect(await vm("--rm", "--network", "host", image, "true")).toMatchObject({ code: 125 });
  });
});

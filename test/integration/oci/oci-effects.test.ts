import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import type { ProcessIdentity } from "../../../src/host/host.ts";
import type { ExecRequest, PrepareRequest } from "../../../src/instances/driver.ts";
import { instanceSpec, type SpecOverrides } from "../../../src/instances/fake/instance-spec.ts";
import type { DriverHandle } from "../../../src/schema/instance.ts";
import { unlimited } from "../../../src/schema/resources.ts";
import { FailingPrograms } from "../../soak/failing-programs.ts";
import { OciWorld } from "./oci-world.ts";

const ctx = background();

describe.each(["runc", "crun"])("what a container of %s sees", (runtime) => {
  let world: OciWorld;
  let handles: DriverHandle[] = [];

  beforeEach(async () => {
    world = await OciWorld.open(runtime);
  });

  afterEach(async () => {
    for (const handle of handles) await world.driver.destroy(ctx, handle);
    handles = [];
    await world[Symbol.asyncDispose]();
  });

  async function start(argv: readonly string[], overrides: SpecOverrides, request: Partial<PrepareRequest>) {
    const whole = await world.request(instanceSpec(argv, overrides), request);
    const { handle } = await world.driver.prepare(ctx, whole);
    handles.push(handle);
    const io = await world.driver.attach(ctx, handle);
    await world.driver.start(ctx, handle);
    return { handle, io, request: whole };
  }

  /** Output of a shell line, both streams, and its exit code. */
  async function sh(line: string, overrides: SpecOverrides = {}, request: Partial<PrepareRequest> = {}) {
    const { handle, io } = await start(["sh", "-c", line], overrides, request);
    let output = "";
    for await (const frame of io.output) output += Buffer.from(frame.data).toString();
    const { exitCode } = await world.driver.wait(ctx, handle);
    return { output: output.trim(), exitCode };
  }

  function execRequest(line: string, more: Partial<ExecRequest> = {}): ExecRequest {
    return {
      execId: `${handles.length}${Math.random().toString(16).slice(2)}`,
      argv: ["sh", "-c", line],
      env: [],
      user: "",
      groupAdd: [],
      workingDir: "",
      tty: false,
      stdin: false,
      privileged: false,
      detached: false,
      ...more,
    };
  }

  async function execIn(handle: DriverHandle, line: string, more: Partial<ExecRequest> = {}) {
    const task = await world.driver.exec(ctx, handle, execRequest(line, more));
    let output = "";
    for await (const frame of task.io.output) output += Buffer.from(frame.data).toString();
    return { output: output.trim(), exitCode: await task.exited };
  }

  it("blames the runtime's side when the monitor of a command ends before it can be attached to", async () => {
    const { handle } = await start(["sleep", "60"], {}, {});
    const path = process.env["PATH"];
    const programs = new FailingPrograms(world.dir);
    process.env["PATH"] = `${programs.bin}:${path}`;
    try {
      const driver = await world.reopen();
      for (const fault of ["fail", "die"] as const) {
        programs.arm("monitor", fault);
        const request = execRequest("true", { tty: true });
        await expect(driver.exec(ctx, handle, request)).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
      }
    } finally {
      process.env["PATH"] = path;
    }
    expect(await execIn(handle, "echo still there")).toEqual({ output: "still there", exitCode: 0 });
  });

  it("undoes a container whose runtime was killed when it had made it, though the monitor says nothing of that", async () => {
    const path = process.env["PATH"];
    const bin = join(world.dir, "bin");
    await mkdir(bin);
    const real = world.host.processes.which(runtime) ?? "";
    const killed = `case "$*" in *create*) kill -9 $$;; esac`;
    await writeFile(join(bin, runtime), `#!/bin/sh\n${real} "$@" || exit\n${killed}\n`, { mode: 0o755 });
    process.env["PATH"] = `${bin}:${path}`;
    try {
      const driver = await world.reopen();
      const request = await world.request(instanceSpec(["sleep", "60"]));
      await expect(driver.prepare(ctx, request)).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
      expect(await world.host.cgroups.processes(request.cgroupPath)).toEqual([]);
    } finally {
      process.env["PATH"] = path;
    }
  });

  it("is PID 1 of its own namespaces, with Docker's environment", async () => {
    const { output } = await sh(
      "echo $$; hostname; env | sort; pwd",
      { process: { env: ["A=1"] } },
      { hostname: "box" },
    );
    const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    // SHLVL and PWD are the shell's.
    const lines = output.split("\n").filter((line) => !/^(SHLVL|PWD)=/.test(line));
    expect(lines).toEqual(["1", "box", "A=1", "HOME=/root", "HOSTNAME=box", path, "/"]);
  });

  it("runs as the user asked for, with its groups and home", async () => {
    const { output } = await sh("id; echo $HOME", { process: { user: "user", groupAdd: ["44"] } });
    expect(output).toBe("uid=1000(user) gid=1000(user) groups=44,1000(user),2000(extra)\n/home/user");
  });

  it("refuses an unknown user before anything is started", async () => {
    const request = await world.request(instanceSpec(["true"], { process: { user: "nobody-here" } }));
    await expect(world.driver.prepare(ctx, request)).rejects.toThrow(
      "unable to find user nobody-here: no matching entries in passwd file",
    );
    expect((await world.remains(request.id)).filter((one) => !one.endsWith(request.id))).toEqual([]);
  });

  it("has Docker's capabilities, and what is added and dropped", async () => {
    const capabilities = async (overrides: SpecOverrides) =>
      (await sh("grep CapEff /proc/self/status", overrides)).output.split(/\s+/)[1];
    expect(await capabilities({})).toBe("00000000a80425fb");
    expect(await capabilities({ security: { capDrop: ["ALL"], capAdd: ["NET_ADMIN"] } })).toBe("0000000000001000");
    const own = /CapEff:\s*(\w+)/.exec(await readFile("/proc/self/status", "utf8"))?.[1];
    expect(await capabilities({ security: { privileged: true } })).toBe(own);
  });

  it("can't gain privileges when told so, and has a filter unless unconfined", async () => {
    const status = async (security: SpecOverrides["security"]) =>
      (await sh("grep -E 'NoNewPrivs|^Seccomp:' /proc/self/status", { security: security ?? {} })).output;
    expect(await status({})).toMatch(/NoNewPrivs:\s*0\nSeccomp:\s*2/);
    expect(await status({ noNewPrivileges: true, seccomp: "unconfined" })).toMatch(/NoNewPrivs:\s*1\nSeccomp:\s*0/);
    expect(await status({ privileged: true })).toMatch(/Seccomp:\s*0/);
  });

  it("obeys a filter of its own", async () => {
    const seccomp = JSON.stringify({
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 2 }],
    });
    expect((await sh("mkdir /tmp/x", { security: { seccomp } })).output).toContain("No such file or directory");
  });

  it("mounts what Docker mounts, and hides the same paths", async () => {
    const { output } = await sh(
      "cat /proc/mounts; echo masked: $(wc -c </proc/interrupts); echo x >/proc/sys/kernel/domainname",
    );
    expect(output).toMatch(/^shm \/dev\/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k/m);
    expect(output).toMatch(/ \/sys sysfs ro,/);
    expect(output).toMatch(/ \/dev\/pts devpts rw,nosuid,noexec/);
    expect(output).toMatch(/ \/dev\/mqueue mqueue /);
    expect(output).toContain("masked: 0");
    expect(output).toMatch(/Read-only file system/);
  });

  it("sees binds and tmpfs mounts, with a parent before its children", async () => {
    const source = join(world.dir, "source");
    await mkdir(join(source, "sub"), { recursive: true });
    await writeFile(join(source, "file"), "from the host");
    const { output } = await sh(
      "cat /data/file; echo; touch /data/x 2>&1; touch /data/sub/y && echo writable; grep ' /data/sub ' /proc/mounts",
      {},
      {
        mounts: [
          { type: "tmpfs", source: "tmpfs", target: "/data/sub", options: ["size=1m"] },
          { type: "bind", source, target: "/data", options: ["rbind", "ro", "rprivate"] },
        ],
      },
    );
    expect(output).toContain("from the host");
    expect(output).toContain("touch: /data/x: Read-only file system");
    expect(output).toContain("writable");
    expect(output).toMatch(/tmpfs \/data\/sub tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k/);
  });

  it("refuses a propagation that the source's mount can't give", async () => {
    const mounts = [{ type: "bind" as const, source: world.dir, target: "/data", options: ["rbind", "rshared"] }];
    const isShared = /^\d+ \d+ \S+ \/ \/ \S+ shared:/m.test(await readFile("/proc/self/mountinfo", "utf8"));
    const attempt = sh("true", {}, { mounts });
    if (isShared) await attempt;
    else await expect(attempt).rejects.toMatchObject({ code: "MOUNT_NOT_SHARED" });
  });

  it("shares mounts with the host where the bind is shared", async () => {
    const shared = join(world.dir, "shared");
    await mkdir(join(shared, "inner"), { recursive: true });
    await world.host.kernel.apply(ctx, [
      { op: "mount", source: "tmpfs", target: shared, fstype: "tmpfs" },
      { op: "mount", source: "none", target: shared, flags: ["shared"] },
    ]);
    try {
      const mounts = [{ type: "bind" as const, source: shared, target: "/data", options: ["rbind", "rshared"] }];
      const line = "mkdir /data/inner && mount -t tmpfs inner /data/inner && echo mounted";
      expect((await sh(line, { security: { privileged: true } }, { mounts })).output).toBe("mounted");
      expect((await world.host.kernel.mounts(shared)).map(({ target }) => target)).toContain(join(shared, "inner"));
    } finally {
      await world.host.kernel.apply(ctx, [
        { op: "unmount", target: join(shared, "inner") },
        { op: "unmount", target: shared, detach: true },
      ]);
    }
  });

  it("is ended when its monitor is killed: nobody would have its output and exit code", async () => {
    const { handle } = await start(["sleep", "1000"], {}, {});
    const monitor = handle.state["monitor"] as ProcessIdentity;
    expect(world.host.processes.signal(monitor, 9)).toBe(true);
    expect(await world.driver.wait(ctx, handle)).toMatchObject({ exitCode: 137 });
    await expect(world.driver.attach(ctx, handle)).rejects.toMatchObject({ code: "TASK_NOT_RUNNING" });
  });

  it("can't write to a read-only root, but to what has to be writable", async () => {
    const { output } = await sh("touch /x 2>&1; touch /dev/shm/x && echo shm", { security: { readonlyRootfs: true } });
    expect(output).toBe("touch: /x: Read-only file system\nshm");
  });

  it("has the devices that it was given, and no others", async () => {
    const line = "mknod /tmp/fuse c 10 229; head -c1 /dev/full | wc -c; ls -l /dev/mine; cat /tmp/fuse";
    const device = { pathOnHost: "/dev/urandom", pathInContainer: "/dev/mine", permissions: "r" };
    const { output } = await sh(line, { devices: [device] });
    expect(output).toMatch(/^1\n.*1,\s+9 .*\/dev\/mine/s);
    expect(output).toContain("Operation not permitted");
  });

  it("names a device that is not there", async () => {
    const devices = [{ pathOnHost: "/dev/nope", pathInContainer: "/dev/nope", permissions: "" }];
    await expect(sh("true", { devices })).rejects.toThrow(
      'error gathering device information while adding custom device "/dev/nope": no such file or directory',
    );
  });

  it("gets its limits: files, memory, processes, CPUs", async () => {
    const group = (handle: DriverHandle) => String(handle.state["cgroupPath"]);
    const { handle } = await start(
      ["sleep", "1000"],
      {
        ulimits: [{ name: "nofile", soft: 100, hard: 200 }],
        resources: { ...unlimited, memory: 64 << 20, pidsLimit: 50, nanoCpus: 500_000_000, cpuShares: 512 },
      },
      {},
    );
    expect((await execIn(handle, "ulimit -Sn; ulimit -Hn")).output).toBe("100\n200");
    expect(await world.host.cgroups.usage(group(handle))).toMatchObject({ memoryLimitBytes: 64 << 20, pidsLimit: 50 });
    if (world.host.cgroups.mode !== "v2") {
      const quota = await readFile(`/sys/fs/cgroup/cpu${group(handle)}/cpu.cfs_quota_us`, "utf8");
      expect(quota.trim()).toBe("50000");
      const swap = await readFile(`/sys/fs/cgroup/memory${group(handle)}/memory.memsw.limit_in_bytes`, "utf8");
      expect(Number(swap)).toBe(128 << 20);
    }
  });

  it("gets its sysctls and domain name", async () => {
    const { output } = await sh(
      "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni; dnsdomainname",
      {
        sysctls: { "kernel.shmmni": "100" },
        domainname: "example.org",
      },
    );
    expect(output).toMatch(/^0\n100/);
  });

  it("starts in its working directory, which is made when missing", async () => {
    expect((await sh("pwd", { process: { workingDir: "/made/for/this" } })).output).toBe("/made/for/this");
  });

  it("is not PID 1 under an init that reaps and forwards", async () => {
    const program = ["docker-init", "tini-static", "catatonit"].some(
      (one) => world.host.processes.which(one) !== undefined,
    );
    if (!program) {
      await expect(sh("true", { process: { init: true } })).rejects.toMatchObject({ code: "INIT_MISSING" });
      return;
    }
    const { output, exitCode } = await sh("echo $$; cat /proc/1/comm; exit 3", { process: { init: true } });
    expect(output).toMatch(/^[2-9]\d*\n/);
    expect(exitCode).toBe(3);
  });

  it("says what can't be run", async () => {
    await writeFile(join(world.dir, "rootfs/data/plain"), "text", { mode: 0o644 });
    const failing = async (command: string) => {
      const request = await world.request(instanceSpec([command]));
      return await world.driver.prepare(ctx, request).then(
        () => undefined,
        (error: unknown) => error,
      );
    };
    expect(await failing("/data/plain")).toMatchObject({
      code: "COMMAND_NOT_EXECUTABLE",
      message: expect.stringContaining('exec: "/data/plain": '),
    });
    expect(await failing("/data/missing")).toMatchObject({
      code: "COMMAND_NOT_FOUND",
      message: expect.stringContaining('exec: "/data/missing": stat /data/missing: no such file or directory'),
    });
  });

  it("is entered by exec as another user, elsewhere, with more variables, and privileged", async () => {
    const { handle } = await start(["sleep", "1000"], { process: { env: ["A=1"] } }, {});
    const line = "id -u; pwd; echo $A $B $HOME";
    const own = await execIn(handle, line, { user: "user:extra", workingDir: "/tmp", env: ["A=1", "B=2"] });
    expect(own).toEqual({ output: "1000\n/tmp\n1 2 /home/user", exitCode: 0 });
    const caps = async (privileged: boolean) =>
      (await execIn(handle, "grep CapEff /proc/self/status", { privileged })).output;
    expect(await caps(true)).not.toBe(await caps(false));
    await expect(execIn(handle, "true", { user: "nobody-here" })).rejects.toThrow("unable to find user nobody-here");
  });

  it("lets an exec go on when its client leaves", async () => {
    const { handle } = await start(["sleep", "1000"], {}, {});
    const exec = { user: "", groupAdd: [], workingDir: "", tty: false, stdin: false, privileged: false, env: [] };
    // Twice what a pipe holds.
    const argv = ["sh", "-c", "head -c 131072 /dev/zero; exit 3"];
    const task = await world.driver.exec(ctx, handle, { ...exec, detached: false, execId: "0123456789abcdef", argv });
    task.io.detach();
    expect(await task.exited).toBe(3);
  });

  it("lets a detached exec go on when the engine was killed", async () => {
    const { handle, request } = await start(["sleep", "1000"], {}, {});
    const exec = { user: "", groupAdd: [], workingDir: "", tty: false, stdin: false, privileged: false, env: [] };
    const argv = ["sh", "-c", "sleep 1; exit 4"];
    const task = await world.driver.exec(ctx, handle, { ...exec, detached: true, execId: "0123456789abcdef", argv });
    const restarted = await world.reopen();
    await restarted.collect(ctx, new Set([request.id]));
    expect(await readdir(request.dir)).toContain("detached-0123456789abcdef");
    expect(await task.exited).toBe(4);
  });

  it("leaves no exec behind when its runtime or its monitor was killed", async () => {
    const { handle, request } = await start(["sleep", "1000"], {}, {});
    const exec = { user: "", groupAdd: [], workingDir: "", stdin: false, privileged: false, env: [] };
    const { processes } = world.host;
    for (const [execId, kind] of [
      ["0123456789abcd01", { tty: false, detached: false }],
      ["0123456789abcd02", { tty: false, detached: true }],
      ["0123456789abcd03", { tty: true, detached: false }],
    ] as const) {
      // Deaf to the end of its terminal.
      const argv = ["sh", "-c", "trap '' HUP; while :; do sleep 1; done"];
      const task = await world.driver.exec(ctx, handle, { ...exec, ...kind, execId, argv });
      const command = processes.identify(task.pid);
      const name = `${kind.detached ? "detached" : "exec"}-${execId}`;
      const keepers = processes.withArgument(join(request.dir, name, "pid"));
      expect([command, keepers.length], name).toEqual([expect.anything(), 1]);
      for (const keeper of keepers) processes.signal(keeper, 9);
      expect(await task.exited).toBeGreaterThan(0);
      await expect.poll(() => processes.identify(task.pid), { message: name }).toBeUndefined();
    }
    expect(await world.driver.recover(ctx, handle)).toMatchObject({ status: "running" });
  });

  it("leaves no exec behind when the engine was killed", async () => {
    const { handle, request } = await start(["sleep", "1000"], {}, {});
    const exec = {
      user: "",
      groupAdd: [],
      workingDir: "",
      tty: false,
      stdin: false,
      privileged: false,
      detached: false,
      env: [],
    };
    const task = await world.driver.exec(ctx, handle, { ...exec, execId: "0123456789abcdef", argv: ["sleep", "999"] });
    const restarted = await world.reopen();
    await restarted.collect(ctx, new Set([request.id]));
    expect(await task.exited).toBe(137);
    expect(await restarted.recover(ctx, handle)).toMatchObject({ status: "running" });
  });
});

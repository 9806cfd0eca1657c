import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { background, withTimeout } from "../../../src/base/op-context.ts";
import type { Host } from "../../../src/host/host.ts";
import { openHost } from "./linux-host.ts";

const ctx = background();
const env = { PATH: "/usr/bin:/bin" };
let host: Host;
let directory: string;

beforeAll(async () => {
  host = await openHost();
  directory = mkdtempSync(join(tmpdir(), "berth-processes-"));
});

afterAll(async () => {
  await host.close();
  rmSync(directory, { recursive: true });
});

const sh = (script: string, more: object = {}) => host.processes.run(ctx, { argv: ["sh", "-c", script], env, ...more });

describe("sealed", () => {
  it("is a copy that runs, can't be written to, and follows its file", async () => {
    const program = join(directory, "program");
    writeFileSync(program, "#!/bin/sh\necho one\n", { mode: 0o755 });
    const first = host.processes.sealed(program);
    expect(host.processes.sealed(program)).toBe(first);
    expect((await host.processes.run(ctx, { argv: [first], env })).stdout).toBe("one\n");
    expect(() => writeFileSync(first, "#!/bin/sh\necho evil\n")).toThrow("EPERM");
    rmSync(program);
    writeFileSync(program, "#!/bin/sh\necho another\n", { mode: 0o755 });
    expect((await host.processes.run(ctx, { argv: [host.processes.sealed(program)], env })).stdout).toBe("another\n");
  });
});

describe("spawn over", () => {
  it("shows the child a file in place of another, and nobody else", async () => {
    const [shown, target] = [join(directory, "shown"), join(directory, "target")];
    writeFileSync(shown, "shown");
    writeFileSync(target, "hidden");
    const over = [{ source: shown, target }];
    const child = await host.processes.spawn(ctx, {
      argv: ["cp", target, join(directory, "seen")],
      env,
      over,
    });
    expect(await child.exited).toEqual({ code: 0, signal: 0 });
    expect(readFileSync(join(directory, "seen"), "utf8")).toBe("shown");
    expect(readFileSync(target, "utf8")).toBe("hidden");
    const refused = host.processes.spawn(ctx, { argv: ["true"], env, over, cwd: join(directory, "nowhere") });
    await expect(refused).rejects.toMatchObject({ code: "PROCESS_SPAWN_FAILED" });
  });
});

describe("mounts of what is spawned over", () => {
  it("are without those that it has no use for, which the host keeps, shared or not", async () => {
    const [shown, target] = [join(directory, "shown-2"), join(directory, "target-2")];
    for (const path of [shown, target]) writeFileSync(path, "");
    const outer = mkdtempSync(join(tmpdir(), "berth-processes-outer-"));
    const inner = join(outer, "inner");
    const mounted = () => readFileSync("/proc/self/mountinfo", "utf8").split(` ${outer}`).length - 1;
    try {
      const shared = { op: "mount", source: "tmpfs", target: outer, fstype: "tmpfs", flags: ["shared"] } as const;
      await host.kernel.apply(ctx, [shared]);
      mkdirSync(inner);
      await host.kernel.apply(ctx, [{ op: "mount", source: "tmpfs", target: inner, fstype: "tmpfs" }]);
      expect(mounted()).toBe(2);
      const child = await host.processes.spawn(ctx, {
        argv: ["cat", "/proc/self/mountinfo"],
        env,
        over: [{ source: shown, target }],
        fds: { 1: { kind: "pipe", parent: "reads" } },
      });
      const seen = await text(new Socket({ fd: child.pipes[1] ?? -1 }));
      await child.exited;
      expect(seen).toContain(` ${target} `);
      expect(seen).not.toContain(outer);
      expect(mounted()).toBe(2);
    } finally {
      await host.kernel.apply(
        ctx,
        [inner, outer].map((path) => ({ op: "unmount", target: path })),
      );
      rmSync(outer, { recursive: true });
    }
  });
});

describe("run", () => {
  it("feeds the input and keeps output and exit code", async () => {
    expect(await sh("cat; echo oops >&2; exit 3", { input: "hello\n" })).toEqual({
      code: 3,
      stdout: "hello\n",
      stderr: "oops\n",
    });
  });

  it("reports a signal as a shell does", async () => {
    expect((await sh("kill -SEGV $$")).code).toBe(139);
  });

  it("passes large input and output through", async () => {
    const input = Buffer.alloc(3_000_000, "0123456789\n");
    const { stdout } = await host.processes.run(ctx, { argv: ["cat"], input });
    expect(stdout).toBe(input.toString());
  });

  it("is not hurt by a program that does not read its input", async () => {
    expect((await sh("exit 0", { input: Buffer.alloc(1_000_000) })).code).toBe(0);
  });

  it("passes arguments and environment as they are, large ones too", async () => {
    const value = "ü\n'\"$x ".repeat(10_000);
    const argv = ["printf", "%s|%s", "a b", ""] as const;
    expect((await host.processes.run(ctx, { argv, env })).stdout).toBe("a b|");
    expect((await sh('printf %s "$BIG"', { env: { ...env, BIG: value } })).stdout).toBe(value);
    expect((await sh("env | sort", { env: { ...env, A: "1" } })).stdout).toMatch(/^A=1\nPATH=.*\nPWD=.*\n$/);
  });

  it("runs where it is told", async () => {
    expect((await sh("pwd", { cwd: directory })).stdout).toBe(`${directory}\n`);
    await expect(sh("pwd", { cwd: join(directory, "missing") })).rejects.toMatchObject({
      code: "PROCESS_SPAWN_FAILED",
      message: expect.stringMatching(/ENOENT.*working directory .*missing/),
    });
  });

  it("kills the whole group after the time given", async () => {
    const marker = join(directory, "grandchild");
    const started = performance.now();
    await expect(sh(`sh -c 'echo $$ > ${marker}; exec sleep 50' & sleep 50`, { timeoutMs: 300 })).rejects.toMatchObject(
      {
        code: "PROCESS_TIMEOUT",
        message: expect.stringContaining("0.3 s"),
      },
    );
    expect(performance.now() - started).toBeLessThan(5000);
    const grandchild = Number(readFileSync(marker, "utf8"));
    await expect.poll(() => host.processes.identify(grandchild)).toBeUndefined();
  });

  it("ends with the operation's signal", async () => {
    const brief = withTimeout(ctx, 100);
    await expect(host.processes.run(brief, { argv: ["sleep", "50"], env })).rejects.toThrow(/timeout/);
  });

  it("does not wait for a grandchild that keeps the output open", async () => {
    const started = performance.now();
    const { stdout } = await sh("sleep 20 & echo $!");
    expect(performance.now() - started).toBeLessThan(5000);
    const identity = host.processes.identify(Number(stdout));
    if (identity !== undefined) host.processes.signal(identity, 9);
  });

  it("starts many at once", async () => {
    const codes = await Promise.all(
      Array.from({ length: 300 }, () => host.processes.run(ctx, { argv: ["true"], env })),
    );
    expect(codes.every(({ code }) => code === 0)).toBe(true);
  });
});

describe("spawn", () => {
  it("gives the child the descriptors that were asked for, and no others", async () => {
    const log = join(directory, "log");
    const inherited = openSync("/etc/hostname", "r");
    const stray = openSync("/etc/passwd", "r");
    const child = await host.processes.spawn(ctx, {
      argv: ["sh", "-c", "for f in /proc/self/fd/*; do echo ${f##*/} $(readlink $f); done >&5; cat <&7 >&5"],
      env,
      fds: {
        2: { kind: "append", path: log },
        5: { kind: "pipe", parent: "reads" },
        // Crosses over: 7 becomes our pipe while 3 takes a file that may have that number here.
        7: { kind: "pipe", parent: "writes" },
        3: { kind: "fd", fd: inherited },
      },
    });
    closeSync(inherited);
    closeSync(stray);
    const input = new Socket({ fd: child.pipes[7] ?? -1, readable: false, writable: true });
    input.end("from the parent\n");
    const output = new Socket({ fd: child.pipes[5] ?? -1, readable: true, writable: false });
    let text = "";
    for await (const chunk of output) text += String(chunk);
    expect(await child.exited).toEqual({ code: 0, signal: 0 });
    const lines = text.trim().split("\n");
    expect(lines.at(-1)).toBe("from the parent");
    const numbers = lines.slice(0, -1).map((line) => line.split(" ")[0]);
    // The shell's own glob opens one more, which readlink can't find any longer.
    expect(numbers.filter((number) => ["0", "1", "2", "3", "5", "7"].includes(number ?? ""))).toHaveLength(6);
    expect(text).toContain("0 /dev/null");
    expect(text).toContain("3 /etc/hostname");
    expect(text).toContain(`2 ${log}`);
    expect(text).not.toContain("/etc/passwd");
    expect(statSync(log).mode & 0o777).toBe(0o600);
  });

  it("appends to a log that is there", async () => {
    const path = join(directory, "appended");
    for (const word of ["one", "two"]) {
      const child = await host.processes.spawn(ctx, {
        argv: ["echo", word],
        env,
        fds: { 1: { kind: "append", path } },
      });
      await child.exited;
    }
    expect(readFileSync(path, "utf8")).toBe("one\ntwo\n");
  });

  it("starts a session of its own when asked, with default signals", async () => {
    const child = await host.processes.spawn(ctx, { argv: ["sleep", "100"], env, newSession: true });
    const { pid } = child.identity;
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    expect(execFileSync("ps", ["-o", "sid=", "-p", String(pid)], { encoding: "utf8" }).trim()).toBe(String(pid));
    // Node ignores SIGPIPE.
    expect(/^SigIgn:\s*(\w+)/m.exec(status)?.[1]).toBe("0000000000000000");
    expect(/^SigBlk:\s*(\w+)/m.exec(status)?.[1]).toBe("0000000000000000");
    host.processes.signal(child.identity, 9);
    expect(await child.exited).toEqual({ code: 0, signal: 9 });
  });

  it("finds the processes of a session, also those that outlived its leader", async () => {
    const argv = ["sh", "-c", "sleep 1000 & sleep 1000 & wait"] as const;
    const child = await host.processes.spawn(ctx, { argv: [...argv], env, newSession: true });
    const { pid } = child.identity;
    await expect.poll(() => host.processes.sessionOf(pid).length).toBe(3);
    expect(host.processes.sessionOf(pid)).toContainEqual(child.identity);
    host.processes.signal(child.identity, 9);
    await child.exited;
    const left = host.processes.sessionOf(pid);
    expect(left).toHaveLength(2);
    for (const member of left) host.processes.signal(member, 9);
    for (const member of left) await host.processes.waitGone(member);
    expect(host.processes.sessionOf(pid)).toEqual([]);
  });

  it("finds processes by an argument of theirs", async () => {
    const argument = `1000.${process.pid}${Date.now()}`;
    const child = await host.processes.spawn(ctx, { argv: ["sleep", argument], env });
    await expect.poll(() => host.processes.withArgument(argument)).toEqual([child.identity]);
    expect(host.processes.withArgument(argument.slice(0, -1))).toEqual([]);
    host.processes.signal(child.identity, 9);
    await child.exited;
    expect(host.processes.withArgument(argument)).toEqual([]);
  });

  it("leaves no descriptor behind, also when it fails", async () => {
    const count = () => execFileSync("ls", [`/proc/${process.pid}/fd`], { encoding: "utf8" }).split("\n").length;
    // Once the worker's thread has opened its own.
    await host.kernel.links();
    const before = count();
    const fds = { 1: { kind: "pipe", parent: "reads" } } as const;
    for (let i = 0; i < 20; i++) {
      await expect(host.processes.spawn(ctx, { argv: ["no-such"], env, fds })).rejects.toThrow();
      await expect(host.processes.spawn(ctx, { argv: ["true"], env, cwd: "/no", fds })).rejects.toThrow();
      const missing = { 1: { kind: "append", path: "/no/such/log" } } as const;
      await expect(host.processes.spawn(ctx, { argv: ["true"], env, fds: missing })).rejects.toThrow(/no\/such\/log/);
    }
    // Sockets of earlier tests may have been closed meanwhile.
    expect(count()).toBeLessThanOrEqual(before);
  });
});

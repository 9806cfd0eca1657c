import { createServer } from "node:net";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { onNetwork, RealEngine, sleep, textOf } from "./real-engine.ts";

let engine: RealEngine;

beforeAll(async () => {
  engine = await RealEngine.open();
});

afterAll(async () => {
  await engine[Symbol.asyncDispose]();
});

const attachAll = { stdin: true, stdout: true, stderr: true, logs: false, stream: true };

describe("a container", () => {
  it("runs, is attached to from its first byte, and goes with --rm", async () => {
    const id = await engine.create(["sh", "-c", "echo out; echo err >&2; exit 4"], { autoRemove: true });
    const session = await engine.instances.attach(engine.ctx, id, attachAll);
    const { done } = await engine.instances.wait(engine.ctx, id, "removed");
    await engine.instances.start(engine.ctx, id);
    expect((await textOf(session.output)).split("\n").sort()).toEqual(["", "err", "out"]);
    expect(await done).toEqual({ exitCode: 4, error: "" });
    expect(engine.actions(id)).toEqual(["create", "attach", "start", "die", "destroy"]);
  });

  it("passes stdin to its half-close", async () => {
    const id = await engine.create(["cat"], { process: { openStdin: true, stdinOnce: true } });
    const session = await engine.instances.attach(engine.ctx, id, attachAll);
    session.stdin?.end("through\n");
    await engine.instances.start(engine.ctx, id);
    expect(await textOf(session.output)).toBe("through\n");
    expect(await engine.exitCode(id)).toBe(0);
  });

  it("has a terminal that is resized", async () => {
    const id = await engine.create(["sh", "-c", "read x; stty size"], { process: { tty: true, openStdin: true } });
    const session = await engine.instances.attach(engine.ctx, id, attachAll);
    await engine.instances.start(engine.ctx, id);
    await engine.instances.resize(engine.ctx, id, { rows: 33, columns: 77 });
    session.stdin?.write("\n");
    expect(await textOf(session.output)).toContain("33 77");
  });

  it("that can't start says why and leaves nothing", async () => {
    const id = await engine.create(["/no/such/command"]);
    await expect(engine.instances.start(engine.ctx, id)).rejects.toMatchObject({ code: "COMMAND_NOT_FOUND" });
    expect(engine.instances.resolve(id).state).toMatchObject({ status: "created", exitCode: 127 });
  });

  it("is stopped, killed when deaf, restarted, paused, and updated", async () => {
    const id = await engine.run(["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done"]);
    await sleep(200);
    await engine.instances.stop(engine.ctx, id, { timeoutSeconds: 5 });
    expect(engine.instances.resolve(id).state.exitCode).toBe(9);
    await engine.instances.start(engine.ctx, id);
    await engine.instances.pause(engine.ctx, id);
    await engine.instances.resume(engine.ctx, id);
    await engine.instances.update(engine.ctx, id, { resources: { memory: 64 * 2 ** 20, memorySwap: -1 } });
    expect((await engine.instances.usage(engine.ctx, id)).resources.memoryLimitBytes).toBe(64 * 2 ** 20);
    await engine.instances.kill(engine.ctx, id, "KILL");
    expect(engine.instances.resolve(id).state).toMatchObject({ status: "exited", exitCode: 137 });
  });

  it("lists its processes and streams its logs to their end", async () => {
    const id = await engine.run(["sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.1; done; printf end"]);
    const { titles, rows } = await engine.instances.processes(engine.ctx, id, "-o pid,comm");
    expect(titles).toEqual(["PID", "COMMAND"]);
    expect(rows[0]?.[1]).toBe("sh");
    expect(await engine.logs(id, { follow: true })).toBe("line 1\nline 2\nline 3\nend");
    expect(await engine.logs(id, { tail: 2 })).toBe("line 3\nend");
  });

  it("is killed by the OOM killer, and Docker's words say so", async () => {
    const id = await engine.run(["sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1"], {
      resources: { ...engine.instances.list()[0]!.spec.resources, memory: 8 * 2 ** 20, memorySwap: 8 * 2 ** 20 },
    });
    await engine.exitCode(id);
    expect(engine.instances.resolve(id).state.oomKilled).toBe(true);
    expect(engine.actions(id)).toContain("oom");
  });

  it("runs further commands, with their exit codes", async () => {
    const id = await engine.run(["sleep", "1000"], { process: { env: ["A=1"] } });
    expect(await engine.exec(id, ["sh", "-c", "echo $A $HOSTNAME; exit 5"])).toEqual({
      output: `1 ${id.slice(0, 12)}\n`,
      exitCode: 5,
    });
    await expect(engine.exec(id, ["nosuch"])).rejects.toThrow("executable file not found");
  });

  it("turns healthy and unhealthy", async () => {
    const id = await engine.run(["sh", "-c", "touch /ok; sleep 1000"], {
      healthcheck: { Test: ["CMD-SHELL", "test -e /ok"], Interval: 100_000_000, Retries: 1 },
    });
    const reach = async (status: string) => {
      for (let i = 0; i < 100 && engine.instances.resolve(id).state.health?.status !== status; i++) await sleep(50);
      expect(engine.instances.resolve(id).state.health?.status).toBe(status);
    };
    await reach("healthy");
    await engine.exec(id, ["rm", "/ok"]);
    await reach("unhealthy");
  });
});

describe("files and volumes", () => {
  it("are copied both ways, volumes included, and nothing leaves through a link", async () => {
    const volume = { type: "volume", readOnly: false, noCopy: false, anonymous: false } as const;
    const id = await engine.run(["sh", "-c", "echo in > /data/file; ln -s /etc/shadow /tmp/link; sleep 1000"], {
      mounts: [{ ...volume, name: "copied", target: "/data" }],
    });
    await sleep(200);
    const { tar, stat } = await engine.instances.copyFrom(engine.ctx, id, "/data");
    expect(stat.name).toBe("data");
    const other = await engine.create(["cat", "/opt/data/file"]);
    await expect(
      engine.instances.copyTo(engine.ctx, other, "/opt", tar, { noOverwriteDirNonDir: true, copyUidGid: false }),
    ).rejects.toThrow(`Could not find the file /opt in container ${other}`);
    tar.destroy();
    const again = await engine.instances.copyFrom(engine.ctx, id, "/data");
    await engine.instances.copyTo(engine.ctx, other, "/tmp", again.tar, {
      noOverwriteDirNonDir: true,
      copyUidGid: false,
    });
    await engine.instances.start(engine.ctx, other).catch(() => undefined);
    expect(await engine.instances.statPath(engine.ctx, other, "/tmp/data/file")).toMatchObject({ size: 3 });
    await expect(engine.instances.statPath(engine.ctx, id, "/tmp/link/.")).rejects.toMatchObject({ status: 404 });
    expect(readFileSync(join(engine.volumes.require("copied").mountpoint, "file"), "utf8")).toBe("in\n");
  });

  it("packs what is mounted below a directory with it", async () => {
    const id = await engine.run(["sleep", "1000"]);
    const { tar } = await engine.instances.copyFrom(engine.ctx, id, "/etc");
    const other = await engine.create(["true"]);
    await engine.instances.copyTo(engine.ctx, other, "/tmp", tar, { noOverwriteDirNonDir: false, copyUidGid: false });
    const hosts = await engine.instances.statPath(engine.ctx, other, "/tmp/etc/hosts");
    expect(hosts.size).toBeGreaterThan(0);
    expect((await engine.instances.statPath(engine.ctx, other, "/tmp/etc/passwd")).size).toBeGreaterThan(0);
  });

  it("binds host directories, making missing ones for -v", async () => {
    const source = join(engine.directory, "host", "dir");
    const bind = { type: "bind", source, target: "/mnt", propagation: "rprivate" } as const;
    const id = await engine.run(["sh", "-c", "echo x > /mnt/f"], {
      mounts: [{ ...bind, readOnly: false, createSource: true }],
    });
    expect(await engine.exitCode(id)).toBe(0);
    expect(readFileSync(join(source, "f"), "utf8")).toBe("x\n");
    const readOnly = await engine.run(["sh", "-c", "echo x > /mnt/g"], {
      mounts: [{ ...bind, readOnly: true, createSource: true }],
    });
    expect(await engine.exitCode(readOnly)).toBe(1);
  });

  it("are read-only where that was asked for, single files too", async () => {
    const source = join(engine.directory, "single");
    writeFileSync(source, "text\n");
    const bind = { type: "bind", source, target: "/single", propagation: "rprivate", readOnly: true } as const;
    const id = await engine.run(["sh", "-c", "cat /single; echo x > /single || touch /x || echo refused"], {
      mounts: [{ ...bind, createSource: true }],
      security: { readonlyRootfs: true },
    });
    await engine.exitCode(id);
    expect(await engine.logs(id, { stderr: false })).toBe("text\nrefused\n");
  });

  it("are told apart from the image's, committed and exported", async () => {
    const id = await engine.run(["sh", "-c", "echo new > /new; sleep 1000"]);
    await sleep(200);
    // Not the runtime's mount points, which lie beneath the layers.
    expect(await engine.instances.changes(engine.ctx, id)).toEqual([{ kind: "added", path: "/new" }]);
    const image = await engine.instances.commit(engine.ctx, id, {
      reference: "committed:1",
      comment: "c",
      author: "a",
      pause: true,
      changes: ['CMD ["cat","/new"]'],
    });
    const from = await engine.create([], { image: "committed:1" });
    await engine.instances.start(engine.ctx, from);
    expect(await engine.exitCode(from)).toBe(0);
    expect(await engine.logs(from)).toBe("new\n");
    expect(image.layers).toHaveLength(2);
    let bytes = 0;
    for await (const chunk of await engine.instances.export(engine.ctx, id)) bytes += (chunk as Buffer).byteLength;
    expect(bytes).toBeGreaterThan(500_000);
  });
});

describe("networks", () => {
  it("has an address on the default bridge, and a published port that answers", async () => {
    const hostPort = await freePort();
    const id = await engine.run(
      ["sh", "-c", "while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello' | nc -l -p 80; done"],
      onNetwork("bridge", { ports: [{ containerPort: 80, protocol: "tcp", hostIp: "", hostPort }] }),
    );
    const { state } = engine.instances.resolve(id);
    expect(state.ports[0]).toMatchObject({ containerPort: 80, hostPort });
    expect(state.endpoints[0]?.interfaceName).toBe("eth0");
    let answer = "";
    for (let i = 0; i < 20 && answer === ""; i++) {
      answer = await fetch(`http://127.0.0.1:${hostPort}/`).then(
        (r) => r.text(),
        () => "",
      );
      if (answer === "") await sleep(100);
    }
    expect(answer).toBe("hello");
    expect((await engine.instances.usage(engine.ctx, id)).networks["eth0"]?.rxBytes).toBeGreaterThan(0);

    const joined = await engine.run(["ip", "-4", "addr", "show", "eth0"], onNetwork(`container:${id}`));
    expect(await engine.exitCode(joined)).toBe(0);
    expect(await engine.logs(joined)).toContain(state.endpoints[0]?.ipv4Cidr ?? "none");

    const clash = await engine.create(["sleep", "1"], onNetwork("bridge", { ports: state.ports }));
    await expect(engine.instances.start(engine.ctx, clash)).rejects.toMatchObject({ code: "PORT_IN_USE" });
  });

  it("shares the host's when asked to", async () => {
    const id = await engine.run(["hostname"], onNetwork("host"));
    expect(await engine.exitCode(id)).toBe(0);
    expect((await engine.logs(id)).trim()).toBe(readFileSync("/proc/sys/kernel/hostname", "utf8").trim());
  });
});

describe("an engine that is killed", () => {
  it("finds everything again: what runs, whole logs, exit codes, policies, orphans", async () => {
    const counting = await engine.run([
      "sh",
      "-c",
      "i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); [ $((i % 50)) = 0 ] && sleep 0.02; done; sleep 1000",
    ]);
    const ending = await engine.run(["sh", "-c", "sleep 0.7; exit 6"]);
    const temporary = await engine.run(["sh", "-c", "sleep 0.6"], { autoRemove: true });
    const always = await engine.run(["sh", "-c", "sleep 0.5; exit 1"], {
      restartPolicy: { name: "always", maximumRetryCount: 0 },
    });
    const paused = await engine.run(["sleep", "1000"]);
    await engine.instances.pause(engine.ctx, paused);
    const runs = engine.instances.resolve(counting).state.pid;
    const orphan = join(engine.directory, "run", "instances", "f".repeat(64));
    await engine.kill(async () => {
      mkdirSync(orphan, { recursive: true });
      writeFileSync(join(orphan, "x"), "");
      await sleep(1200);
    });
    expect(engine.instances.resolve(counting).state).toMatchObject({ status: "running", pid: runs });
    expect(engine.instances.resolve(ending).state).toMatchObject({ status: "exited", exitCode: 6, handle: null });
    expect(() => engine.instances.resolve(temporary)).toThrow("No such container");
    expect(engine.instances.resolve(paused).state.status).toBe("paused");
    for (let i = 0; i < 40 && engine.instances.resolve(always).state.restartCount < 1; i++) await sleep(50);
    expect(engine.instances.resolve(always).state.restartCount).toBeGreaterThan(0);
    await engine.instances.stop(engine.ctx, always, { timeoutSeconds: 0 });
    for (let i = 0; i < 40 && !(await engine.logs(counting, { tail: 1 })).startsWith("1999"); i++) await sleep(100);
    expect(await engine.logs(counting)).toBe(Array.from({ length: 2000 }, (_, i) => `${i}\n`).join(""));
    expect((await engine.exec(counting, ["true"])).exitCode).toBe(0);
    expect(() => readFileSync(join(orphan, "x"))).toThrow();
    await engine.instances.stop(engine.ctx, counting, { timeoutSeconds: 0 });
    expect(engine.instances.resolve(counting).state).toMatchObject({ status: "exited", exitCode: 137 });
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Ulimit } from "../schema/instance.ts";
import { unlimited } from "../schema/resources.ts";
import { driverErrors } from "./driver-errors.ts";
import { instanceSpec } from "./fake/instance-spec.ts";
import { TestEngine } from "./fake/test-engine.ts";
import type { ExecSpec, LogLine } from "./instance-service.ts";

const execSpec: ExecSpec = {
  argv: ["env"],
  env: [],
  user: "",
  workingDir: "",
  tty: false,
  attachStdin: false,
  attachStdout: true,
  attachStderr: true,
  privileged: false,
  detachKeys: "",
};

describe("exec", () => {
  it("runs with the instance's environment and reports its end", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"], { process: { env: ["A=1", "PATH=/p"], user: "web" } });
    const exec = await engine.service.execCreate(engine.ctx, id, { ...execSpec, env: ["B=2"] });
    expect(engine.service.execIds(id)).toEqual([exec]);
    const session = await engine.service.execStart(engine.ctx, exec, { detach: false });
    let output = "";
    for await (const { data } of session?.output ?? []) output += Buffer.from(data as Uint8Array).toString();
    expect(output.trim().split("\n")).toEqual(["PATH=/p", `HOSTNAME=${id.slice(0, 12)}`, "A=1", "B=2"]);
    await until(() => !engine.service.execInspect(exec).running);
    expect(engine.service.execInspect(exec)).toMatchObject({ exitCode: 0, running: false });
    expect(engine.machine.task(id).execs.get(exec)?.request.user).toBe("web");
    expect(engine.actions(id).slice(2)).toEqual(["exec_create: env", "exec_start: env", "exec_die"]);
    await expect(engine.service.execStart(engine.ctx, exec, { detach: false })).rejects.toThrow("has already run");
  });

  it("has exit code 127 where the command is missing", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"]);
    const exec = await engine.service.execCreate(engine.ctx, id, { ...execSpec, argv: ["nosuch"] });
    await expect(engine.service.execStart(engine.ctx, exec, { detach: true })).rejects.toThrow("not found");
    expect(engine.service.execInspect(exec)).toMatchObject({
      exitCode: 127,
      running: false,
      failure: { code: "COMMAND_NOT_FOUND", hint: expect.stringContaining("nosuch") },
    });
  });

  it("is refused where nothing runs or all is frozen", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["sleep", "100"], { name: "web" });
    await expect(engine.service.execCreate(engine.ctx, "web", execSpec)).rejects.toThrow(
      `container ${id} is not running`,
    );
    await engine.service.start(engine.ctx, id);
    await engine.service.pause(engine.ctx, id);
    await expect(engine.service.execCreate(engine.ctx, "web", execSpec)).rejects.toThrow(
      "Container web is paused, unpause the container before exec",
    );
    await expect(engine.service.execStart(engine.ctx, "nosuch", { detach: true })).rejects.toThrow(
      "No such exec instance: nosuch",
    );
  });
});

describe("health", () => {
  const quick = { Test: ["CMD-SHELL", "exit 0"], Interval: 10_000_000, Timeout: 50_000_000, Retries: 2 };

  it("turns healthy, then unhealthy, with the last five probes", async () => {
    await using engine = new TestEngine();
    let code = 0;
    engine.machine.programs.set("probe", async (process) => {
      process.write("stdout", "seen");
      return code;
    });
    const id = await engine.run(["sleep", "100"], { healthcheck: { ...quick, Test: ["CMD", "probe"] } });
    expect(engine.service.resolve(id).state.health?.status).toBe("starting");
    await until(() => engine.service.resolve(id).state.health?.status === "healthy");
    code = 3;
    await until(() => engine.service.resolve(id).state.health?.status === "unhealthy");
    await until(() => (engine.service.resolve(id).state.health?.failingStreak ?? 0) > 6);
    const { health } = engine.service.resolve(id).state;
    expect(health?.log).toHaveLength(5);
    expect(health?.log[4]).toMatchObject({ exitCode: 3, output: "seen" });
    expect(engine.actions(id).filter((action) => action.startsWith("health"))).toEqual([
      "health_status: healthy",
      "health_status: unhealthy",
    ]);
    // The engine's own commands leave no sessions behind.
    expect(engine.service.execIds(id).length).toBeLessThan(2);
  });

  it("goes on after the engine's restart", async () => {
    await using engine = new TestEngine();
    engine.machine.programs.set("probe", async () => 0);
    const id = await engine.run(["sleep", "100"], {
      healthcheck: { ...quick, Interval: 60_000_000_000, Test: ["CMD", "probe"] },
    });
    const records = engine.store.collection<{ readonly spec: object }>("instances");
    const record = records.get(id);
    records.put(id, { ...record, spec: { ...record?.spec, healthcheck: { ...quick, Test: ["CMD", "probe"] } } });
    await engine.restart();
    await until(() => engine.service.resolve(id).state.health?.status === "healthy");
  });

  describe("with the policy to restart what is unhealthy", () => {
    const restartPolicy = (maximumRetryCount: number) => ({ name: "unhealthy", maximumRetryCount }) as const;

    it("ends the run with the stop signal and starts another, though the process says that all is well", async () => {
      await using engine = new TestEngine();
      let code = 1;
      engine.machine.programs.set("probe", async () => code);
      const check = { ...quick, Test: ["CMD", "probe"] };
      const id = await engine.run(["sleep", "100"], { healthcheck: check, restartPolicy: restartPolicy(0) });
      engine.machine.task(id).main.onSignal(15, () => engine.machine.task(id).main.exit(0));
      await until(() => engine.service.resolve(id).state.restartCount === 1);
      code = 0;
      await until(() => engine.service.resolve(id).state.health?.status === "healthy");
      expect(engine.service.resolve(id).state).toMatchObject({ status: "running", manuallyStopped: false });
      expect(engine.actions(id).filter((action) => !action.startsWith("exec"))).toEqual([
        "create",
        "start",
        "health_status: unhealthy",
        "kill",
        "die",
        "start",
        "health_status: healthy",
      ]);
    });

    it("kills what does not heed the stop signal, and lets it run when it has no tries left", async () => {
      await using engine = new TestEngine();
      engine.machine.programs.set("probe", async () => 1);
      const check = { ...quick, Test: ["CMD", "probe"] };
      const spec = { healthcheck: check, restartPolicy: restartPolicy(1), stopTimeout: 0 };
      const id = await engine.run(["sleep", "100"], spec);
      const first = engine.machine.task(id);
      first.main.onSignal(15, () => {});
      await until(() => engine.service.resolve(id).state.restartCount === 1);
      expect(first.main.signals).toEqual([15, 9]);
      await until(() => (engine.service.resolve(id).state.health?.failingStreak ?? 0) > 4);
      expect(engine.service.resolve(id).state).toMatchObject({ status: "running", restartCount: 1 });
      expect(engine.machine.task(id).main.signals).toEqual([]);
    });

    it("goes on probing when it can't be ended, and tries again", async () => {
      await using engine = new TestEngine();
      engine.machine.programs.set("probe", async () => 1);
      engine.driver.failNext("signal", new Error("not now"));
      const check = { ...quick, Test: ["CMD", "probe"] };
      const id = await engine.run(["sleep", "100"], { healthcheck: check, restartPolicy: restartPolicy(0) });
      await until(() => engine.service.resolve(id).state.restartCount === 1);
    });

    it("is refused where nothing looks after its health", async () => {
      await using engine = new TestEngine();
      const needs = /'unhealthy' needs a health check: give one with --health-cmd/;
      await expect(engine.create(["sleep", "1"], { restartPolicy: restartPolicy(0) })).rejects.toThrow(needs);
      const id = await engine.create(["sleep", "1"]);
      const changes = { resources: {}, restartPolicy: restartPolicy(0) };
      await expect(engine.service.update(engine.ctx, id, changes)).rejects.toThrow(needs);
    });
  });

  it("counts a probe that hangs as failed", async () => {
    await using engine = new TestEngine();
    engine.machine.programs.set("probe", async (process) => {
      await process.sleep(100_000);
      return 0;
    });
    const id = await engine.run(["sleep", "100"], { healthcheck: { ...quick, Test: ["CMD", "probe"], Retries: 1 } });
    await until(() => engine.service.resolve(id).state.health?.status === "unhealthy");
    expect(engine.service.resolve(id).state.health?.log[0]).toMatchObject({
      exitCode: -1,
      output: "Health check exceeded timeout (50ms)",
    });
  });
});

describe("logs", () => {
  it("come in order, and a follower's end with the run", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"]);
    const task = engine.machine.task(id);
    task.write("stdout", "one\n");
    const options = { stdout: true, stderr: true, follow: true };
    const lines: string[] = [];
    const following = (async () => {
      for await (const line of await engine.service.logs(engine.ctx, id, options)) {
        lines.push(Buffer.from((line as LogLine).data).toString());
      }
    })();
    await until(() => lines.length === 1);
    task.write("stderr", "two\n");
    task.finish(0);
    await following;
    expect(lines).toEqual(["one\n", "two\n"]);
  });

  it("let go of a reader that leaves", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"]);
    const stream = await engine.service.logs(engine.ctx, id, { stdout: true, stderr: true, follow: true });
    stream.resume();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const closed = new Promise((resolve) => stream.once("close", resolve));
    stream.destroy();
    await closed;
  });

  it("are refused without a stream or a driver that keeps them", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["true"], { log: { driver: "none", options: {} } });
    const options = { stdout: true, stderr: true, follow: false };
    await expect(engine.service.logs(engine.ctx, id, options)).rejects.toThrow(
      "configured logging driver does not support reading",
    );
    await expect(engine.service.logs(engine.ctx, id, { ...options, stdout: false, stderr: false })).rejects.toThrow(
      "You must choose at least one stream",
    );
  });

  it("are rotated at their limit", async () => {
    await using engine = new TestEngine();
    const log = { driver: "json-file", options: { "max-size": "100", "max-file": "2" } } as const;
    const id = await engine.run(["sleep", "100"], { log });
    engine.machine.task(id).write("stdout", `${"x".repeat(200)}\n`);
    const dir = dirname(engine.service.logPath(id));
    await until(() => readdirSync(dir).length === 2);
    engine.machine.task(id).write("stdout", "after\n");
    const lines: string[] = [];
    for await (const line of await engine.service.logs(engine.ctx, id, { stdout: true, stderr: true, follow: false })) {
      lines.push(Buffer.from((line as LogLine).data).toString());
    }
    expect(lines).toEqual([`${"x".repeat(200)}\n`, "after\n"]);
  });
});

describe("update", () => {
  it("changes ulimits by their names, from the next start on, and says so", async () => {
    await using engine = new TestEngine();
    const nofile = { name: "nofile", soft: 10, hard: 20 };
    const id = await engine.create(["sleep", "100"], { ulimits: [nofile, { name: "core", soft: 0, hard: 0 }] });
    const update = (ulimits: readonly Ulimit[]) => engine.service.update(engine.ctx, id, { resources: {}, ulimits });
    expect(await update([{ ...nofile, hard: 30 }])).toEqual([]);
    expect(engine.service.resolve(id).spec.ulimits).toEqual([
      { name: "nofile", soft: 10, hard: 30 },
      { name: "core", soft: 0, hard: 0 },
    ]);
    await expect(update([{ name: "fun", soft: 1, hard: 1 }])).rejects.toThrow("invalid ulimit type: fun");
    await engine.service.start(engine.ctx, id);
    expect(await update([{ name: "nproc", soft: 5, hard: 5 }])).toEqual([expect.stringContaining("started again")]);
    expect(engine.service.resolve(id).spec.ulimits).toHaveLength(3);
  });

  it("changes what is stated, in the run and in the record", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"], { resources: { ...unlimited, cpuShares: 512, memory: 2 ** 25 } });
    await engine.service.update(engine.ctx, id, {
      resources: { ...unlimited, memory: 2 ** 26, memorySwap: -1 },
      restartPolicy: { name: "always", maximumRetryCount: 0 },
    });
    expect(engine.machine.task(id).resources).toMatchObject({ cpuShares: 512, memory: 2 ** 26, memorySwap: -1 });
    expect(engine.service.resolve(id).spec).toMatchObject({
      resources: { memory: 2 ** 26 },
      restartPolicy: { name: "always" },
    });
    expect(engine.actions(id).at(-1)).toBe("update");
  });

  it("is for the next run when this one has ended, though the engine has yet to notice", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"]);
    engine.driver.failNext("update", driverErrors.TASK_NOT_RUNNING({ id }));
    await engine.service.update(engine.ctx, id, { resources: { memory: 2 ** 26, memorySwap: -1 } });
    expect(engine.service.resolve(id).spec.resources.memory).toBe(2 ** 26);
  });

  it("refuses what contradicts the present limits", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["true"], { resources: { ...unlimited, memory: 2 ** 25, cpuQuota: 5000 } });
    const update = (change: object) => engine.service.update(engine.ctx, id, { resources: change });
    await expect(update({ memory: 2 ** 27 })).rejects.toThrow("update the memoryswap at the same time");
    await expect(update({ nanoCpus: 1e9 })).rejects.toThrow("Nano CPUs cannot be updated as CPU Quota has already");
    await expect(update({ memory: 5 })).rejects.toThrow("Minimum memory limit allowed is 6MB");
  });
});

describe("files", () => {
  it("are found through links and in what is mounted over the root", async () => {
    await using engine = new TestEngine();
    const outside = join(engine.dir, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "bound"), "bound");
    writeFileSync(join(outside, "secret"), "secret");
    const id = await engine.create(["true"], {
      mounts: [
        { type: "volume", name: "data", target: "/var/run/data", readOnly: false, noCopy: true, anonymous: false },
        {
          type: "bind",
          source: join(outside, "bound"),
          target: "/etc/bound",
          readOnly: true,
          propagation: "rprivate",
          createSource: false,
        },
      ],
    });
    const root = engine.snapshots.rootOf(id);
    mkdirSync(join(root, "run"));
    mkdirSync(join(root, "etc"));
    mkdirSync(join(root, "var"));
    symlinkSync("/run", join(root, "var", "run"));
    symlinkSync("../../../../var/run/data/file", join(root, "etc", "link"));
    symlinkSync(join(outside, "secret"), join(root, "etc", "escape"));
    writeFileSync(join(engine.dir, "volumes", "data", "file"), "in the volume");
    const stat = (path: string) => engine.service.statPath(engine.ctx, id, path);
    expect(await stat("/run/data/file")).toMatchObject({ name: "file", size: 13 });
    expect(await stat("/etc/link")).toMatchObject({ linkTarget: "/run/data/file", mode: 2 ** 27 + 0o777 });
    expect(await stat("/etc/bound")).toMatchObject({ size: 5 });
    expect(await stat("/")).toMatchObject({ name: "/" });
    await expect(stat("/etc/escape/")).rejects.toThrow(`Could not find the file /etc/escape/ in container ${id}`);
    await expect(stat("/etc/bound/x")).rejects.toMatchObject({ status: 404 });
    expect(engine.volumes.mounts.size).toBe(0);
    expect(engine.snapshots.mounted.size).toBe(0);
  });
});

describe("links", () => {
  it("are removed one by one, running or not, and what inspect shows of them", async () => {
    await using engine = new TestEngine();
    const { network } = instanceSpec([]);
    const links = ["db:store", "cache"];
    const endpoints = { bridge: { aliases: [], links } };
    const id = await engine.create(["sleep"], {
      network: { ...network, mode: "bridge", endpoints },
      passthrough: { "HostConfig.Links": links },
    });
    const linksOf = () => engine.service.resolve(id).spec.network.endpoints.bridge?.links;
    await engine.service.unlink(engine.ctx, id, "store");
    expect(linksOf()).toEqual(["cache"]);
    expect(engine.service.resolve(id).spec.passthrough["HostConfig.Links"]).toEqual(["cache"]);
    await expect(engine.service.unlink(engine.ctx, id, "store")).rejects.toMatchObject({ status: 404 });
    await engine.service.start(engine.ctx, id);
    await engine.service.unlink(engine.ctx, id, "cache");
    expect(linksOf()).toEqual([]);
  });
});

describe("networks", () => {
  it("are joined and left, under Docker's rules", async () => {
    await using engine = new TestEngine();
    const { network } = instanceSpec([]);
    const on = (mode: string) => engine.create(["true"], { network: { ...network, mode } });
    const id = await on("id-of-bridge");
    const endpointsOf = () => Object.keys(engine.service.resolve(id).spec.network.endpoints);
    expect(endpointsOf()).toEqual(["bridge"]);
    await engine.service.connect(engine.ctx, id, "app", { aliases: ["web"] });
    expect(endpointsOf()).toEqual(["bridge", "app"]);
    await engine.service.disconnect(engine.ctx, id, "bridge", false);
    expect(engine.service.resolve(id).spec.network.mode).toBe("app");
    await expect(engine.service.disconnect(engine.ctx, id, "bridge", false)).rejects.toThrow(
      `container ${id} is not connected to the network bridge`,
    );
    const connect = (other: string) => engine.service.connect(engine.ctx, other, "app", { aliases: [] });
    await expect(connect(await on("none"))).rejects.toThrow("private (none) mode");
    await expect(connect(await on("host"))).rejects.toThrow("sharing network namespace");
    await expect(on("nosuch")).rejects.toThrow("network nosuch not found");
  });
});

describe("published ports", () => {
  const port = (containerPort: number, hostPort: number) => ({
    containerPort,
    protocol: "tcp" as const,
    hostIp: "",
    hostPort,
  });
  const listed = (ports: readonly { readonly hostPort: number }[]) => ports.map(({ hostPort }) => hostPort);

  it("are changed while it runs, and stay so at its next start", async () => {
    await using engine = new TestEngine();
    const { network } = instanceSpec([]);
    const exposed = { ...network, mode: "bridge", exposedPorts: ["81/tcp"], publishAll: true, ports: [port(80, 8080)] };
    const id = await engine.run(["sleep", "100"], { network: exposed });
    expect(listed(await engine.service.publish(engine.ctx, id, [port(90, 9090)]))).toEqual([8080, 32768, 9090]);
    const choice = { containerPort: 81, protocol: "tcp" as const };
    expect(listed(await engine.service.unpublish(engine.ctx, id, choice))).toEqual([8080, 9090]);
    expect(listed(engine.service.resolve(id).state.ports)).toEqual([8080, 9090]);
    expect(engine.service.resolve(id).spec.network).toMatchObject({
      ports: [port(80, 8080), port(90, 9090)],
      publishAll: false,
    });
    await engine.service.restart(engine.ctx, id, {});
    expect(listed(engine.service.resolve(id).state.ports)).toEqual([8080, 9090]);
    expect(engine.actions(id).filter((action) => action === "update")).toHaveLength(2);
  });

  it("are noted for its next start while it does not run", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["sleep", "100"], { network: { ...instanceSpec([]).network, mode: "bridge" } });
    expect(await engine.service.publish(engine.ctx, id, [port(80, 8080), port(81, 8081)])).toEqual([]);
    expect(await engine.service.unpublish(engine.ctx, id, port(81, 8081))).toEqual([]);
    await engine.service.start(engine.ctx, id);
    expect(listed(engine.service.resolve(id).state.ports)).toEqual([8080]);
  });

  it("are as before where one can't be had, or none fits", async () => {
    await using engine = new TestEngine();
    const { network } = instanceSpec([]);
    const id = await engine.run(["sleep", "100"], {
      name: "web",
      network: { ...network, mode: "bridge", ports: [port(80, 8080)] },
    });
    const before = engine.service.resolve(id).spec.network;
    engine.networks.taken.add(9090);
    await expect(engine.service.publish(engine.ctx, id, [port(90, 9090)])).rejects.toMatchObject({
      code: "PORT_IN_USE",
    });
    await expect(engine.service.unpublish(engine.ctx, id, port(80, 8081))).rejects.toMatchObject({
      code: "PORT_NOT_PUBLISHED",
      message: "web does not publish 8081:80/tcp",
      hint: "It publishes 8080:80/tcp.",
    });
    await expect(engine.service.publish(engine.ctx, id, [{ ...port(1, 1), hostIp: "1.2.3" }])).rejects.toThrow(
      "invalid IP address: 1.2.3",
    );
    expect(engine.service.resolve(id).spec.network).toEqual(before);
    expect(engine.store.journal.open()).toEqual([]);
    const host = await engine.create(["true"], { network: { ...network, mode: "host" } });
    await expect(engine.service.publish(engine.ctx, host, [port(80, 8080)])).rejects.toMatchObject({
      code: "PORTS_NOT_ITS_OWN",
    });
  });

  it("are what the network has, when the engine was killed in between", async () => {
    await using engine = new TestEngine();
    const network = { ...instanceSpec([]).network, mode: "bridge", ports: [port(80, 8080)] };
    const id = await engine.run(["sleep", "100"], { network });
    engine.store.journal.begin("instance.ports", id, {});
    await engine.networks.service().publish(engine.ctx, id, [port(90, 9090)]);
    await engine.restart();
    expect(listed(engine.service.resolve(id).state.ports)).toEqual([8080, 9090]);
    expect(engine.service.resolve(id).spec.network.ports).toEqual([port(80, 8080), port(90, 9090)]);
    expect(engine.store.journal.open()).toEqual([]);
  });
});

describe("commit", () => {
  it("puts the changes on the image, paused meanwhile", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"], { process: { env: ["A=1"] }, labels: { l: "1" } });
    const image = await engine.service.commit(engine.ctx, id, {
      reference: "mine:1",
      comment: "note",
      author: "me",
      pause: true,
      changes: ["ENV B=2", 'CMD ["serve"]'],
    });
    expect(engine.actions(id).slice(2)).toEqual(["pause", "unpause", "commit"]);
    expect(engine.images.created[0]?.layers).toHaveLength(2);
    expect(image.config.config).toMatchObject({ Cmd: ["serve"], Env: ["A=1", "B=2"], Labels: { l: "1" } });
    expect(image.config.history?.at(-1)).toMatchObject({ comment: "note", author: "me", created_by: "sleep 100" });
    expect(engine.service.resolve(id).state.status).toBe("running");
  });

  const plain = { comment: "", author: "", changes: [], pause: true };

  it("succeeds also when the process ends just when it is to be paused, or while it is", async () => {
    await using engine = new TestEngine();
    const ending = await engine.run(["sleep", "100"]);
    engine.driver.pause = async () => {
      engine.machine.task(ending).main.exit(0);
      throw driverErrors.TASK_NOT_RUNNING({ id: ending });
    };
    expect((await engine.service.commit(engine.ctx, ending, plain)).config.rootfs.diff_ids).toHaveLength(2);
    await until(() => engine.service.resolve(ending).state.status === "exited");

    await engine.restart();
    const killed = await engine.run(["sleep", "100"]);
    engine.snapshots.onCommit = async () => {
      await engine.service.kill(engine.ctx, killed, "SIGKILL");
      await until(() => engine.service.resolve(killed).state.status === "exited");
    };
    expect((await engine.service.commit(engine.ctx, killed, plain)).config.rootfs.diff_ids).toHaveLength(2);
    expect(engine.store.journal.open()).toEqual([]);
  });

  it("leaves paused what somebody else had paused, and running what somebody resumed meanwhile", async () => {
    await using engine = new TestEngine();
    const id = await engine.run(["sleep", "100"]);
    await engine.service.pause(engine.ctx, id);
    await engine.service.commit(engine.ctx, id, plain);
    expect(engine.service.resolve(id).state.status).toBe("paused");
    await engine.service.resume(engine.ctx, id);
    engine.snapshots.onCommit = () => engine.service.resume(engine.ctx, id);
    await engine.service.commit(engine.ctx, id, plain);
    expect(engine.service.resolve(id).state.status).toBe("running");
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}

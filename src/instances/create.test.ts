import { symlinkSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { SpecOverrides } from "./fake/instance-spec.ts";
import { type ResourceSpec, unlimited } from "../schema/resources.ts";
import { instanceRequest, TestEngine } from "./fake/test-engine.ts";

describe("create", () => {
  it("merges the image's configuration by Docker's rules", async () => {
    await using engine = new TestEngine();
    engine.images.runConfig = {
      Entrypoint: ["/entry"],
      Cmd: ["serve"],
      Env: ["A=1", "B=2"],
      User: "web",
      WorkingDir: "/srv",
      Labels: { from: "image", both: "image" },
      ExposedPorts: { "80/tcp": {} },
      StopSignal: "SIGQUIT",
      Healthcheck: { Test: ["CMD", "check"], Retries: 5 },
      Volumes: { "/data": {}, "/cache": {} },
    };
    const id = await engine.create([], {
      process: { env: ["B=3", "C=4"] },
      labels: { both: "request" },
      mounts: [{ type: "tmpfs", target: "/cache", options: [] }],
      healthcheck: { Interval: 1_000_000_000 },
    });
    const { spec } = engine.service.resolve(id);
    expect(spec.process).toMatchObject({
      entrypoint: ["/entry"],
      cmd: ["serve"],
      env: ["B=3", "C=4", "A=1"],
      user: "web",
      workingDir: "/srv",
    });
    expect(spec.labels).toEqual({ from: "image", both: "request" });
    expect(spec.network.exposedPorts).toEqual(["80/tcp"]);
    expect(spec.stopSignal).toBe("SIGQUIT");
    expect(spec.healthcheck).toEqual({ Test: ["CMD", "check"], Interval: 1_000_000_000, Retries: 5 });
    expect(spec.mounts.map(({ type, target }) => `${type} ${target}`)).toEqual(["tmpfs /cache", "volume /data"]);
    expect(spec.hostname).toBe(id.slice(0, 12));
  });

  it("tells of a health check that is never run", async () => {
    await using engine = new TestEngine();
    const request = instanceRequest(["true"], { healthcheck: { Test: ["true"] } });
    const { record, warnings } = await engine.service.create(engine.ctx, request);
    expect(warnings).toEqual(['Health check "true" is never run: it begins with none of NONE, CMD, CMD-SHELL']);
    await engine.service.start(engine.ctx, record.id);
    expect(engine.service.resolve(record.id).state.health).toBeNull();
  });

  it("drops the image's command with its entry point", async () => {
    await using engine = new TestEngine();
    engine.images.runConfig = { Entrypoint: ["/entry"], Cmd: ["serve"] };
    const request = instanceRequest([]);
    const { record } = await engine.service.create(engine.ctx, {
      ...request,
      process: { ...request.process, entrypoint: ["sh"], cmd: null },
    });
    expect([...record.spec.process.entrypoint, ...record.spec.process.cmd]).toEqual(["sh"]);
    await expect(
      engine.service.create(engine.ctx, { ...request, process: { ...request.process, entrypoint: [], cmd: null } }),
    ).rejects.toThrow("no command specified");
  });

  it("keeps names apart, with Docker's words, and gives a free one back", async () => {
    await using engine = new TestEngine();
    const id = await engine.create(["true"], { name: "web" });
    await expect(engine.create(["true"], { name: "web" })).rejects.toThrow(
      `Conflict. The container name "/web" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
    );
    await engine.service.rename(engine.ctx, "web", "shop");
    expect(engine.events.at(-1)).toMatchObject({ action: "rename", attributes: { oldName: "/web", name: "shop" } });
    const other = await engine.create(["true"], { name: "web" });
    await expect(engine.service.rename(engine.ctx, other, "shop")).rejects.toThrow(
      'Error when allocating new name: Conflict. The container name "/shop" is already in use',
    );
    await expect(engine.service.rename(engine.ctx, "shop", "shop")).rejects.toThrow("same name as its current name");
    const named = await engine.create(["true"]);
    expect(engine.service.resolve(named).name).toMatch(/^[a-z]+_[a-z]+\d?$/);
  });

  it("undoes everything when a step fails", async () => {
    await using engine = new TestEngine();
    engine.images.runConfig = { Volumes: { "/data": {} } };
    const put = engine.store.transaction.bind(engine.store);
    engine.store.transaction = () => {
      throw new Error("disk full");
    };
    await expect(engine.create(["true"], { name: "web" })).rejects.toThrow("disk full");
    engine.store.transaction = put;
    expect(engine.snapshots.parents.size).toBe(0);
    expect(engine.volumes.volumes.size).toBe(0);
    expect(engine.store.journal.open()).toEqual([]);
    await engine.create(["true"], { name: "web" });
  });

  it("has its volumes in use from the moment that they are made, until it fails", async () => {
    await using engine = new TestEngine();
    const image = join(engine.dir, "snapshots", "chain-of-busybox", "data");
    mkdirSync(image, { recursive: true });
    const users: (readonly string[])[] = [];
    engine.volumes.onCopyUp = (name) => {
      users.push(engine.volumes.users(name));
      if (users.length > 1) throw new Error("disk full");
    };
    const volume = { type: "volume", readOnly: false, noCopy: false, anonymous: false, target: "/data" } as const;
    const id = await engine.create(["true"], { mounts: [{ ...volume, name: "one" }] });
    await expect(engine.create(["true"], { mounts: [{ ...volume, name: "two" }] })).rejects.toThrow("disk full");
    expect(users).toEqual([[id], [expect.any(String)]]);
    expect(engine.volumes.users("one")).toEqual([id]);
    expect(engine.volumes.users("two")).toEqual([]);
    expect([...engine.volumes.volumes.keys()]).toEqual(["one"]);
  });

  it("fills new volumes from the image, following its links inside it", async () => {
    await using engine = new TestEngine();
    const image = join(engine.dir, "snapshots", "chain-of-busybox");
    mkdirSync(join(image, "real", "data"), { recursive: true });
    symlinkSync("/real", join(image, "link"));
    symlinkSync("../../../etc", join(image, "escape"));
    const volume = { type: "volume", readOnly: false, noCopy: false, anonymous: false } as const;
    await engine.create(["true"], {
      mounts: [
        { ...volume, name: "one", target: "/link/data" },
        { ...volume, name: "two", target: "/escape" },
        { ...volume, name: "three", target: "/link/data2", noCopy: true },
      ],
    });
    expect(engine.volumes.copiedUp).toEqual([{ name: "one", from: join(image, "real", "data") }]);
  });

  it("keeps the id of an instance whose network it joins", async () => {
    await using engine = new TestEngine();
    const first = await engine.run(["sleep", "100"], { name: "one", hostname: "first" });
    const network = engine.service.resolve(first).spec.network;
    const second = await engine.run(["sleep", "100"], {
      network: { ...network, mode: "container:one", endpoints: {} },
    });
    expect(engine.service.resolve(second).spec).toMatchObject({
      hostname: "first",
      network: { mode: `container:${first}` },
    });
    expect(engine.machine.task(second).request.namespaces.network).toBe(`/netns/${first}`);
    expect(engine.machine.task(second).request.mounts.map(({ source }) => source)).toContain("/files/hosts");
    await engine.service.stop(engine.ctx, first, { timeoutSeconds: 1 });
    await engine.service.stop(engine.ctx, second, { timeoutSeconds: 1 });
    await expect(engine.service.start(engine.ctx, second)).rejects.toThrow("cannot join network namespace");
  });

  it.each<readonly [string, SpecOverrides]>([
    ["Minimum memory limit allowed is 6MB", { resources: resources({ memory: 1024 }) }],
    ["Minimum memoryswap limit", { resources: resources({ memory: 2 ** 24, memorySwap: 2 ** 23 }) }],
    ["Nano CPUs and CPU Quota cannot both be set", { resources: resources({ nanoCpus: 1e9, cpuQuota: 5000 }) }],
    ["range of CPUs is from 0.01 to 4.00", { resources: resources({ nanoCpus: 5e9 }) }],
    ["Requested CPUs are not available - requested 9, available: 0-3", { resources: resources({ cpusetCpus: "9" }) }],
    ["Invalid value a for cpuset cpus", { resources: resources({ cpusetCpus: "a" }) }],
    ["Range of blkio weight is from 10 to 1000", { resources: resources({ blkioWeight: 5 }) }],
    ['invalid CapAdd: unknown capability: "CAP_FOO"', { security: { capAdd: ["FOO"] } }],
    ["invalid ulimit type: files", { ulimits: [{ name: "files", soft: 1, hard: 1 }] }],
    ["ulimit soft limit must be less than", { ulimits: [{ name: "nofile", soft: 5, hard: 3 }] }],
    ["sysctl 'vm.swappiness' is not allowed", { sysctls: { "vm.swappiness": "1" } }],
    ["invalid signal: FOO", { stopSignal: "FOO" }],
    ["bind source path does not exist: /no/such", { mounts: [bind("/no/such", "/x", false)] }],
    ["Duplicate mount point: /x", { mounts: [bind("/a", "/x", true), bind("/b", "/x/", true)] }],
    ["destination can't be '/'", { mounts: [bind("/a", "/", true)] }],
    ['Invalid tmpfs option "foo"', { mounts: [{ type: "tmpfs", target: "/x", options: ["foo"] }] }],
    ["can't create 'AutoRemove' container with restart policy", { autoRemove: true, restartPolicy: always }],
    ["maximum retry count can only be used", { restartPolicy: { ...always, maximumRetryCount: 3 } }],
    ["the working directory 'x' is invalid", { process: { workingDir: "x" } }],
    ["invalid environment variable: =x", { process: { env: ["=x"] } }],
    ["unknown log opt 'foo' for json-file log driver", { log: { driver: "json-file", options: { foo: "1" } } }],
    ['invalid value for "max-size": 1x', { log: { driver: "json-file", options: { "max-size": "1x" } } }],
    ["invalid IPC mode: foo", { namespaces: { ...namespaces, ipc: "foo" } }],
    ["No such container: nosuch", { namespaces: { ...namespaces, pid: "container:nosuch" } }],
    ["Interval in Healthcheck cannot be less than 1ms", { healthcheck: { Test: ["CMD", "x"], Interval: 5 } }],
    ["error gathering device information", { devices: [device("/dev/nosuch")] }],
    ["No such image: nosuch", { image: "nosuch" }],
  ])("refuses with: %s", async (reason, overrides) => {
    await using engine = new TestEngine();
    await expect(engine.create(["true"], overrides)).rejects.toThrow(reason);
    expect(engine.snapshots.parents.size).toBe(0);
    expect(engine.service.list()).toEqual([]);
    expect(engine.events).toEqual([]);
  });
});

const always = { name: "always", maximumRetryCount: 0 } as const;
const namespaces = { pid: "", ipc: "", uts: "", cgroup: "", user: "" };

function bind(source: string, target: string, createSource: boolean) {
  return { type: "bind", source, target, readOnly: false, propagation: "rprivate", createSource } as const;
}

function device(pathOnHost: string) {
  return { pathOnHost, pathInContainer: pathOnHost, permissions: "rwm" };
}

function resources(change: Partial<ResourceSpec>) {
  return { ...unlimited, ...change };
}

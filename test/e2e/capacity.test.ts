/** The ledger and the disk's account, through the docker client and against du(1). */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Query } from "../../src/client/engine-client.ts";
import type { CapacityReport, ResourceName } from "../../src/schema/capacity.ts";
import { busyboxArchive } from "../support/busybox-image.ts";
import { du } from "../support/du.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";

const image = "berth-capacity:1";
const MiB = 1024 ** 2;

describe("capacity", () => {
  let engine: EngineProcess;
  let scratch: string;

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), "berth-capacity-"));
    engine = await EngineProcess.start({ flags: ["--overcommit-cpu", "2", "--reserved-memory", "0"] });
    writeFileSync(join(scratch, "image.tar"), await busyboxArchive({ tags: [image] }));
    expect((await engine.docker("load", "-i", join(scratch, "image.tar"))).code).toBe(0);
  });
  afterAll(async () => {
    rmSync(scratch, { recursive: true });
    await engine.remove();
    await assertNothingLeft(engine);
  });

  const report = async (verbose = false): Promise<CapacityReport> => {
    using client = engine.client();
    return await client.call<CapacityReport>("GET", "/berth/v1/capacity", { query: { verbose } });
  };
  const row = ({ resources }: CapacityReport, name: ResourceName) => {
    const found = resources.find(({ resource }) => resource === name);
    if (found === undefined) throw new Error(`no ${name} in the report`);
    return found;
  };
  /** So many bytes of memory, as docker's client takes them. */
  const run = (name: string, memory: number, ...more: readonly string[]) =>
    engine.docker(
      "run",
      "-d",
      "--name",
      name,
      "--stop-signal",
      "KILL",
      "-m",
      `${memory}b`,
      ...more,
      image,
      "sleep",
      "600",
    );

  it("refuses docker's client what does not fit, with what is short, who holds it and what would fit", async () => {
    const { total } = row(await report(), "memory");
    const half = Math.ceil(total / 2 / MiB) * MiB;
    try {
      expect(await run("cap-web", half)).toMatchObject({ code: 0 });
      const refused = await run("cap-db", half);
      expect(refused.code).toBe(125);
      expect(refused.stderr).toMatch(
        /Error response from daemon: not enough capacity for container cap-db: .* of memory, but .* held by cap-web \(.*would fit: .*lower --memory/,
      );
      expect((await engine.docker("inspect", "-f", "{{.State.Status}}", "cap-db")).stdout).toBe("created\n");
      await engine.docker("rm", "cap-db");
      expect(await run("cap-db", half, "--label", "berth.request.memory=16m")).toMatchObject({ code: 0 });
      expect(
        await engine.docker("update", "--memory", `${total + MiB}b`, "--memory-swap", "-1", "cap-web"),
      ).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("would fit"),
      });
    } finally {
      await engine.docker("rm", "-f", "cap-web", "cap-db");
    }
  });

  it("lets one of two concurrent starts have the last of it", async () => {
    const { total } = row(await report(), "memory");
    const most = Math.ceil((total * 0.6) / MiB) * MiB;
    const names = ["cap-a", "cap-b", "cap-c"];
    try {
      const starts = await Promise.all(names.map((name) => run(name, most)));
      expect(starts.map(({ code }) => code).toSorted((a, b) => a - b)).toEqual([0, 125, 125]);
      expect(row(await report(), "memory").allocated).toBe(most);
    } finally {
      await engine.docker("rm", "-f", ...names);
    }
  });

  it("has the same account after kill -9, and lets what runs go on under a smaller limit", async () => {
    try {
      await run("cap-one", 64 * MiB, "--cpus", "0.5", "--pids-limit", "50");
      await run("cap-two", 32 * MiB, "--memory-reservation", `${16 * MiB}b`, "--label", "berth.request.disk=1g");
      const before = await report();
      expect(before.resources.map(({ allocated }) => allocated)).toEqual([5e8, 80 * MiB, 50, 1024 * MiB]);
      for (const { limit, left, allocated } of before.resources) expect(left).toBe(limit - allocated);
      await engine.crash();
      await engine.boot();
      const after = await report(true);
      expect(after.resources.map(({ allocated }) => allocated)).toEqual(
        before.resources.map(({ allocated }) => allocated),
      );
      expect(after.holders.map(({ owner, request, unbounded }) => ({ owner, request, unbounded }))).toEqual(
        before.holders,
      );
      for (const { inUse } of after.holders) expect(inUse?.pids).toBeGreaterThan(0);
      expect(row(after, "pids").inUse).toBeGreaterThanOrEqual(2);
      expect(row(after, "disk").inUse).toBeGreaterThan(MiB);
      const table = (await engine.berth("capacity")).stdout;
      expect(table).toMatch(/^CPU +\S+ +0 +x2 +0.5 /m);
      expect(table).toMatch(/^cap-two +container +unbounded +16MiB +unbounded +1GiB$/m);
      expect((await engine.berth("capacity", "-v")).stdout).toMatch(/^cap-one +container +\S+ \/ 0.5 /m);
      expect(after.shared).toMatchObject([{ kind: "layer", users: 2 }]);
    } finally {
      await engine.docker("rm", "-f", "cap-one", "cap-two");
    }
  });

  it("counts what du counts, within 1 %, and gives it back when pruned", async () => {
    const parts = () => ({
      images: du(join(engine.dataRoot, "content")) + du(join(engine.dataRoot, "snapshots", "layers")),
      containers: du(join(engine.dataRoot, "snapshots", "active")) + du(join(engine.dataRoot, "instances")),
      volumes: du(join(engine.dataRoot, "volumes")),
    });
    mkdirSync(join(scratch, "context"));
    writeFileSync(
      join(scratch, "context", "Dockerfile"),
      `FROM ${image}\nRUN dd if=/dev/urandom of=/big bs=1M count=8 && ln /big /same\nRUN truncate -s 100M /hole\n` +
        "RUN mkdir /many && for i in $(seq 500); do echo $i > /many/$i; done\n",
    );
    expect(await engine.docker("build", "-q", "-t", "cap-built", join(scratch, "context"))).toMatchObject({ code: 0 });
    await engine.docker("run", "--name", "cap-writes", "-v", "cap-data:/data", "cap-built", "sh", "-c", writes);
    await engine.docker("run", "-d", "--name", "cap-runs", "-v", "/anonymous", image, "sleep", "600");
    await engine.docker("tag", image, "cap-again");
    const usage = await diskUsage(engine);
    const sums = (on: typeof usage) => ({
      images: on.ImageUsage.TotalSize + on.BuildCacheUsage.TotalSize,
      containers: on.ContainerUsage.TotalSize,
      volumes: on.VolumeUsage.TotalSize,
    });
    const before = parts();
    expectClose(sums(usage), before);

    await engine.docker("rm", "-f", "cap-runs");
    let left = total(parts());
    const freed = () => {
      const was = left;
      left = total(parts());
      return was - left;
    };
    expectWithin(await prune(engine, "/containers/prune"), freed());
    // Now that no container uses anything, all of it can go.
    const reclaimable = Object.values(await diskUsage(engine)).reduce((sum, { Reclaimable }) => sum + Reclaimable, 0);
    const pruned =
      (await prune(engine, "/volumes/prune", { filters: '{"all":["true"]}' })) +
      (await prune(engine, "/images/prune", { filters: '{"dangling":["false"]}' })) +
      (await prune(engine, "/build/prune", { all: true }));
    const gone = freed();
    expect(gone).toBeGreaterThan(14 * MiB);
    expectWithin(pruned, gone);
    expectWithin(reclaimable, gone);
    expectClose(sums(await diskUsage(engine)), parts());
  });
});

const writes =
  "dd if=/dev/zero of=/data/full bs=1M count=5; truncate -s 50M /data/hole; ln /data/full /data/same; " +
  "dd if=/dev/zero of=/written bs=1M count=3; ln -s /data /loop; yes logged | head -n 200000";

interface Sum {
  readonly TotalSize: number;
  readonly Reclaimable: number;
}

async function diskUsage(engine: EngineProcess) {
  using client = engine.client();
  const { ImageUsage, ContainerUsage, VolumeUsage, BuildCacheUsage } = await client.call<
    Record<"ImageUsage" | "ContainerUsage" | "VolumeUsage" | "BuildCacheUsage", Sum>
  >("GET", "/system/df");
  return { ImageUsage, ContainerUsage, VolumeUsage, BuildCacheUsage };
}

/** What the engine says that it freed. */
async function prune(engine: EngineProcess, path: string, query: Query = {}): Promise<number> {
  using client = engine.client();
  return (await client.call<{ readonly SpaceReclaimed: number }>("POST", path, { query })).SpaceReclaimed;
}

/** Each part, but for 1 % and the directories that hold the parts themselves. */
function expectClose(ours: Readonly<Record<string, number>>, actual: Readonly<Record<string, number>>): void {
  for (const [part, bytes] of Object.entries(actual)) {
    expect(Math.abs((ours[part] ?? 0) - bytes), `${part}: ${ours[part]} of ${bytes}`).toBeLessThanOrEqual(
      bytes * 0.01 + 32 * 1024,
    );
  }
}

function expectWithin(ours: number, actual: number): void {
  expect(Math.abs(ours - actual), `${ours} of ${actual}`).toBeLessThanOrEqual(actual * 0.01);
}

const total = (parts: Readonly<Record<string, number>>) => Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);

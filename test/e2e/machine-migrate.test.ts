/**
 * Running machines from one engine to another, by Berth's command line; and engines that fail or are killed on the way. The guest is a boot
 * sector with a count in memory and one on its disk: each tells whether it is the same machine still.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { makeCounterDisk } from "../integration/qemu/counter-guest.ts";
import { askCounter } from "../support/counter-console.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { until } from "../support/until.ts";

/** An engine whose failpoints can be armed while it runs. */
interface Side {
  readonly engine: EngineProcess;
  readonly failpoints: string;
}

describe("a running machine that moves", () => {
  let dir: string;
  let here: Side;
  let there: Side;
  const ok = (stdout: unknown = expect.any(String)) => expect.objectContaining({ code: 0, stdout });
  const refused = (message: string) => expect.objectContaining({ code: 1, stderr: expect.stringContaining(message) });

  async function start(name: string): Promise<Side> {
    const failpoints = join(dir, name);
    writeFileSync(failpoints, "");
    return { engine: await EngineProcess.start({ environment: { BERTH_FAILPOINTS: `@${failpoints}` } }), failpoints };
  }
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "berth-migrate-"));
    makeCounterDisk(dir);
    if (!existsSync("dist/guest/berth-vmm")) execFileSync("sh", ["guest/build.sh"]);
    [here, there] = [await start("here"), await start("there")];
  });
  afterEach(async () => {
    for (const side of [here, there]) {
      for (const line of await machines(side))
        await side.engine.berth("machine", "rm", "-f", line.split(" ", 1)[0] ?? "");
    }
  });
  afterAll(async () => {
    for (const { engine } of [here, there]) await engine.remove();
    rmSync(dir, { recursive: true });
    for (const { engine } of [here, there]) await assertNothingLeft(engine);
  });

  const create = async (name: string, ...words: readonly string[]) => {
    const hardware = ["--disk-file", join(dir, "disk.qcow2"), "--memory", "32MiB", "--cpus", "1", "--start", ...words];
    expect(await here.engine.berth("machine", "create", name, ...hardware)).toEqual(ok());
  };
  const move = (name: string, ...words: readonly string[]) =>
    here.engine.berth("machine", "migrate", name, "--to", there.engine.host, ...words);
  const ask = ({ engine }: Side, name: string, orders: string) => askCounter(engine.host, name, orders);
  const machines = async ({ engine }: Side) =>
    (await engine.berth("machine", "ls", "--format", "{{.Name}} {{.Status}}")).stdout.split("\n").filter(Boolean);
  const runs = (name: string) => [expect.stringMatching(new RegExp(`^${name} up `))];
  const files = ({ engine }: Side) => readdirSync(join(engine.dataRoot, "instances"));

  /** From now on, by the engine that runs. */
  async function arm({ engine, failpoints }: Side, spec: string): Promise<void> {
    const trace = join(dir, `trace-${Math.random()}`);
    writeFileSync(failpoints, `trace=${trace};${spec}`);
    process.kill(engine.pid, "SIGUSR2");
    await until(async () => existsSync(trace), "its failpoints are armed", 10);
  }

  it("goes on where it was, with its memory, its disk and its network, and nothing of it stays", async () => {
    await create("ma");
    expect(await ask(here, "ma", "++w+")).toBe("1223");
    const moved = await move("ma");
    expect(moved).toEqual(ok(expect.stringMatching(/\nma stood still for \d+ ms\n$/)));
    expect(moved.stderr).toContain("it keeps it until it asks by DHCP again");
    expect(await ask(there, "ma", "?r+w")).toBe("3244");
    expect([await machines(here), files(here)]).toEqual([[], []]);
    const back = await there.engine.berth(
      "machine",
      "migrate",
      "ma",
      "--to",
      here.engine.host,
      "--name",
      "mb",
      "--keep",
    );
    expect(back).toEqual(ok());
    expect(await ask(here, "mb", "?r")).toBe("44");
    expect(await machines(there)).toEqual([expect.stringMatching(/^ma off/)]);
    await there.engine.berth("machine", "rm", "ma");
    // It is a machine like any other from here on.
    await here.engine.berth("machine", "stop", "--force", "mb");
    await here.engine.berth("machine", "start", "mb");
    expect(await ask(here, "mb", "?r")).toBe("04");
  });

  it("stays where it is when the other engine refuses it, or it can't be moved", async () => {
    await here.engine.docker("network", "create", "--subnet", "10.209.7.0/24", "lan");
    await create("mc", "--network", "lan");
    expect(await ask(here, "mc", "+w+")).toBe("112");
    expect(await move("mc")).toEqual(refused("network lan not found"));
    await there.engine.docker("network", "create", "--subnet", "10.209.8.0/24", "lan");
    await there.engine.berth("machine", "create", "mc", "--disk-file", join(dir, "disk.qcow2"));
    expect(await move("mc")).toEqual(refused("already in use"));
    await there.engine.berth("machine", "rm", "mc");
    await here.engine.berth("machine", "snapshot", "create", "mc", "one");
    expect(await move("mc")).toEqual(refused("snapshots, which would stay behind: one"));
    await here.engine.berth("machine", "snapshot", "rm", "mc", "one");
    const nobody = `unix://${dir}/none.sock`;
    expect(await here.engine.berth("machine", "migrate", "mc", "--to", nobody)).toEqual(refused("Cannot connect"));
    expect(await ask(here, "mc", "?r")).toBe("21");
    expect([await machines(there), files(there)]).toEqual([[], []]);
    await here.engine.berth("machine", "disk", "attach", "mc", "more", "--size", "1MiB");
    expect(await move("mc")).toEqual(refused("more came while it runs"));
  });

  it("is refused by an engine that has not the memory for it", async () => {
    await create("me");
    const small = await EngineProcess.start({ flags: ["--overcommit-memory", "0.001"] });
    try {
      expect(await here.engine.berth("machine", "migrate", "me", "--to", small.host)).toEqual(refused("memory"));
      expect(readdirSync(join(small.dataRoot, "instances"))).toEqual([]);
      expect(await machines(here)).toEqual(runs("me"));
    } finally {
      await small.remove();
    }
  });

  // What each engine has QEMU do, in its order: see src/qemu/migration.ts.
  it.each([
    ["the other engine is killed when all is there", "there", "qemu.command#5=die"],
    ["the other engine can't let it go on", "there", "qemu.command#6=fail"],
    ["this engine is killed while its disk is copied", "here", "qemu.command#5=die"],
    ["this engine is killed while it stands still", "here", "qemu.command#9=die"],
  ] as const)("is here and only here, and goes on, when %s", async (_what, side, spec) => {
    await create("md");
    expect(await ask(here, "md", "+w+")).toBe("112");
    const failing = side === "here" ? here : there;
    await arm(failing, spec);
    const moving = move("md");
    if (spec.endsWith("die")) {
      await failing.engine.ended(60_000);
      writeFileSync(failing.failpoints, "");
      await failing.engine.boot();
      expect((await moving).code).toBe(1);
    } else {
      expect((await moving).code).toBe(1);
      await arm(failing, "");
    }
    await until(async () => files(there).length === 0, "nothing of it is left there", 20);
    expect(await machines(there)).toEqual([]);
    expect(await machines(here)).toEqual(runs("md"));
    expect(await ask(here, "md", "?r+w")).toBe("2133");
    // Nothing of the attempt is in its way.
    expect(await move("md")).toEqual(ok());
    expect(await machines(there)).toEqual(runs("md"));
  });
});

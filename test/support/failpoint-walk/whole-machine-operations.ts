/** What `berth machine` does to whole-OS machines, each of which boots in a second. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { Operation } from "./operation.ts";
import {
  ask,
  countOnDisk,
  createOff,
  createOn,
  counterDisk,
  findMachine,
  getMachine,
  machineFileFaults,
  post,
  requireBootable,
  requireSuccess,
  virtualSize,
} from "./whole-machine.ts";
import { pause, type World } from "./world.ts";

const MiB = 1024 * 1024;
type Told = "before" | "after" | "same";

const isOff = (status: string) => status === "created" || status === "exited";

/** It runs with `count` in its memory. */
async function requireCount(world: World, count: string, name = "op"): Promise<void> {
  const { status } = await getMachine(world, name);
  if (status !== "running") throw new Error(`the machine ${name} is ${status}`);
  const found = await ask(world, "?", name);
  if (found !== count) throw new Error(`the memory of ${name} has ${found}, not ${count}`);
}

async function has(world: World, name: string): Promise<boolean> {
  return (await findMachine(world, name)) !== undefined;
}

async function snapshotNames(world: World): Promise<readonly string[]> {
  const { snapshots } = await world.call<{ readonly snapshots: readonly { readonly name: string }[] }>(
    "GET",
    "/berth/v1/machines/op/snapshots",
  );
  return snapshots.map(({ name }) => name);
}

const snapshot = (body: object) => (world: World) => post(world, "snapshots", { name: "one", ...body });

/** Of one that makes the snapshot `one`, or removes it. */
const snapshotIs =
  (whenThere: "before" | "after", check: (world: World) => Promise<void> = async () => {}): Operation["state"] =>
  async (world) => {
    const there = (await snapshotNames(world)).includes("one");
    await check(world);
    return there === (whenThere === "after") ? "after" : "before";
  };

/** The clone boots where it is there, and so does what it was made of. */
async function cloned(world: World): Promise<Told> {
  await requireBootable(world, "op");
  // To be done again as it was.
  await post(world, "stop", { force: true });
  if (!(await has(world, "op2"))) return "before";
  await requireBootable(world, "op2");
  return "after";
}

async function clonedRunning(world: World): Promise<Told> {
  await requireCount(world, "1");
  if (!(await has(world, "op2"))) return "before";
  await requireBootable(world, "op2");
  return "after";
}

async function resized(world: World): Promise<Told> {
  const { hardware, disksDirectory } = await getMachine(world);
  const [disk] = hardware.disks;
  const has = await virtualSize(join(disksDirectory, disk?.file ?? ""));
  if (disk?.size !== has) throw new Error(`the disk is recorded as ${disk?.size}, and has ${has} bytes`);
  return has === 2 * MiB ? "after" : "before";
}

const diskIs =
  (whenThere: "before" | "after"): Operation["state"] =>
  async (world) => {
    const there = (await getMachine(world)).hardware.disks.some(({ name }) => name === "data");
    return there === (whenThere === "after") ? "after" : "before";
  };

const nicIs =
  (whenThere: "before" | "after"): Operation["state"] =>
  async (world) => {
    const { id, hardware } = await getMachine(world);
    const there = hardware.nics.some(({ name }) => name === "net1");
    const { NetworkSettings } = await world.call<{ NetworkSettings: { Networks: object } }>(
      "GET",
      `/containers/${id}/json`,
    );
    const connected = "op-network" in NetworkSettings.Networks;
    if (there !== connected)
      throw new Error(`the card is ${there ? "" : "not "}there, and ${connected ? "" : "not "}connected`);
    return there === (whenThere === "after") ? "after" : "before";
  };

async function makeNetwork(world: World): Promise<void> {
  await world.call("POST", "/networks/create", { body: { Name: "op-network" } });
}

const backupDirectory = (world: World) => join(world.engine.directory, "guest", "backup");

const ovaFile = (world: World) => join(world.engine.directory, "guest", "op.ova");

async function exportOva(world: World): Promise<Buffer> {
  using client = world.engine.client();
  const signal = AbortSignal.timeout(60_000);
  const { body } = await client.stream("GET", "/berth/v1/machines/op/export", { query: { format: "ova" }, signal });
  const pieces: Buffer[] = [];
  for await (const piece of body) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

const walked: readonly Operation[] = [
  {
    name: "machine-create",
    prepare: async (world) => void counterDisk(world),
    run: (world) => createOff(world),
    state: async (world) => {
      if (!(await has(world, "op"))) return "before";
      await requireBootable(world, "op");
      return "after";
    },
  },
  {
    name: "machine-start",
    prepare: (world) => createOff(world),
    run: (world) => post(world, "start"),
    state: async (world) => {
      if (isOff((await getMachine(world)).status)) return "before";
      await requireCount(world, "0");
      return "after";
    },
  },
  {
    name: "machine-stop",
    prepare: createOn,
    run: (world) => post(world, "stop", { force: true }),
    state: async (world) => {
      if (isOff((await getMachine(world)).status)) return "after";
      await requireCount(world, "1");
      return "before";
    },
  },
  {
    name: "machine-rm",
    prepare: createOn,
    run: async (world) => void (await world.call("DELETE", "/berth/v1/machines/op?force=true")),
    // What it pulled the plug of can't be brought back: the first half of it done is like a stop.
    state: async (world) => ((await has(world, "op")) ? "before" : "after"),
  },
  {
    name: "machine-rename",
    prepare: createOn,
    run: (world) => post(world, "rename", { name: "op2" }),
    state: async (world) => {
      const renamed = await has(world, "op2");
      await requireCount(world, "1", renamed ? "op2" : "op");
      return renamed ? "after" : "before";
    },
  },
  {
    name: "machine-snapshot-memory",
    prepare: createOn,
    run: snapshot({}),
    state: snapshotIs("after", (world) => requireCount(world, "1")),
  },
  {
    name: "machine-snapshot-disks",
    prepare: createOn,
    run: snapshot({ memory: false }),
    state: snapshotIs("after", (world) => requireCount(world, "1")),
  },
  {
    name: "machine-snapshot-off",
    prepare: (world) => createOff(world),
    run: snapshot({}),
    state: snapshotIs("after"),
  },
  {
    name: "machine-snapshot-rm",
    prepare: async (world) => {
      await createOn(world);
      await snapshot({})(world);
    },
    run: async (world) => void (await world.call("DELETE", "/berth/v1/machines/op/snapshots?snapshot=one")),
    state: snapshotIs("before", (world) => requireCount(world, "1")),
  },
  {
    name: "machine-revert-memory",
    prepare: async (world) => {
      await createOn(world);
      await snapshot({})(world);
      await ask(world, "+");
    },
    run: (world) => post(world, "snapshots/revert?snapshot=one"),
    state: async (world) => {
      await requireSnapshot(world);
      const { status } = await getMachine(world);
      if (status !== "running") throw new Error(`the machine is ${status}`);
      const count = await ask(world, "?");
      if (count !== "1" && count !== "2") throw new Error(`its memory has ${count}, which it never had`);
      return count === "1" ? "after" : "before";
    },
  },
  {
    name: "machine-revert-disks",
    prepare: async (world) => {
      await createOff(world);
      await snapshot({})(world);
      await post(world, "start");
      await ask(world, "+w");
      await post(world, "stop", { force: true });
    },
    run: (world) => post(world, "snapshots/revert?snapshot=one"),
    state: async (world) => {
      await requireSnapshot(world);
      const { status } = await getMachine(world);
      if (!isOff(status)) throw new Error(`the machine is ${status}`);
      const count = await countOnDisk(world);
      if (count > 1) throw new Error(`its disk has ${count}, which it never had`);
      return count === 0 ? "after" : "before";
    },
  },
  {
    name: "machine-save",
    prepare: createOn,
    run: (world) => post(world, "save"),
    state: async (world) => {
      if ((await getMachine(world)).status === "running") {
        await requireCount(world, "1");
        return "before";
      }
      const faults = await machineFileFaults(world);
      if (faults.length > 0) throw new Error(faults.join("; "));
      await post(world, "start");
      await requireCount(world, "1");
      return "after";
    },
  },
  {
    name: "machine-resume",
    prepare: async (world) => {
      await createOn(world);
      await post(world, "save");
    },
    run: (world) => post(world, "start"),
    state: async (world, mode) => {
      const { status, disksDirectory } = await getMachine(world);
      if (!isOff(status)) {
        await requireCount(world, "1");
        return "after";
      }
      // What runs and can't be recorded is ended: it had gone on already.
      if (mode === "fail" && !existsSync(join(disksDirectory, "..", "resume.json"))) return "after";
      if (!existsSync(join(disksDirectory, "..", "resume.json")))
        throw new Error("it is off, and what was saved is lost");
      return "before";
    },
  },
  {
    name: "machine-clone",
    prepare: (world) => createOff(world),
    run: (world) => post(world, "clone", { name: "op2" }),
    state: cloned,
  },
  {
    name: "machine-clone-running",
    prepare: createOn,
    run: (world) => post(world, "clone", { name: "op2" }),
    state: clonedRunning,
  },
  {
    name: "machine-clone-linked",
    prepare: (world) => createOff(world),
    run: (world) => post(world, "clone", { name: "op2", linked: true }),
    state: cloned,
  },
  {
    name: "machine-resize",
    prepare: createOn,
    run: (world) => post(world, "resize", { disks: { root: 2 * MiB }, cpus: 2 }),
    state: async (world) => {
      await requireCount(world, "1");
      return await resized(world);
    },
  },
  {
    name: "machine-resize-off",
    prepare: (world) => createOff(world),
    run: (world) => post(world, "resize", { disks: { root: 2 * MiB }, memory: 64 * MiB }),
    state: resized,
  },
  {
    name: "machine-disk-attach",
    prepare: createOn,
    run: (world) => post(world, "disks", { name: "data", size: MiB }),
    state: async (world) => {
      await requireCount(world, "1");
      return await diskIs("after")(world);
    },
  },
  {
    name: "machine-disk-detach",
    prepare: async (world) => {
      await createOff(world);
      await post(world, "disks", { name: "data", size: MiB });
    },
    run: async (world) => void (await world.call("DELETE", "/berth/v1/machines/op/disks?disk=data&delete=true")),
    state: diskIs("before"),
  },
  {
    name: "machine-nic-attach",
    prepare: async (world) => {
      await makeNetwork(world);
      await createOn(world);
    },
    run: (world) => post(world, "nics", { network: "op-network" }),
    state: async (world) => {
      await requireCount(world, "1");
      return await nicIs("after")(world);
    },
  },
  {
    name: "machine-nic-detach",
    prepare: async (world) => {
      await makeNetwork(world);
      await createOff(world);
      await post(world, "nics", { network: "op-network" });
    },
    run: async (world) => void (await world.call("DELETE", "/berth/v1/machines/op/nics?nic=net1")),
    state: nicIs("before"),
  },
  {
    name: "machine-export",
    prepare: (world) => createOff(world),
    run: async (world) => {
      const text = (await exportOva(world)).toString("latin1", 257, 262);
      if (text !== "ustar") throw new Error("what was exported is no archive");
    },
    state: async () => "same",
  },
  {
    name: "machine-import",
    prepare: async (world) => {
      if (existsSync(ovaFile(world))) return;
      await createOff(world);
      writeFileSync(ovaFile(world), await exportOva(world));
      await world.call("DELETE", "/berth/v1/machines/op");
    },
    run: async (world) => {
      const query = { name: "op", file: "op.ova", networks: ["bridge"], start: false };
      const body = Readable.from([readFileSync(ovaFile(world))]);
      await requireSuccess(world.call("POST", "/berth/v1/machines/import", { query, body }));
    },
    state: async (world) => {
      if (!(await has(world, "op"))) return "before";
      await requireBootable(world, "op");
      return "after";
    },
  },
  {
    name: "machine-backup",
    prepare: async (world) => {
      rmSync(backupDirectory(world), { recursive: true, force: true });
      mkdirSync(backupDirectory(world), { recursive: true });
      await createOn(world);
    },
    run: (world) => post(world, "backup", { directory: backupDirectory(world) }),
    state: async (world) => {
      await requireCount(world, "1");
      const files = readdirSync(backupDirectory(world)).toSorted().join();
      if (files === "") return "before";
      if (files !== "machine.json,root.qcow2") throw new Error(`the backup has ${files}`);
      return "after";
    },
    tidy: async (world) => rmSync(backupDirectory(world), { recursive: true, force: true }),
  },
];

async function requireSnapshot(world: World): Promise<void> {
  if (!(await snapshotNames(world)).includes("one")) throw new Error("the snapshot is gone");
}

/** Whatever was done, each file has its owner. */
export const wholeMachineOperations: readonly Operation[] = walked.map((operation) => ({
  ...operation,
  state: async (world, mode) => {
    const told = await operation.state(world, mode);
    // What has just ended is still being cleaned up.
    for (let tries = 0; ; tries++) {
      const faults = await machineFileFaults(world);
      if (faults.length === 0) return told;
      // A failure may leave what the next start takes away.
      if (tries === 10 && mode === "fail") {
        await world.engine.crash();
        await world.engine.boot();
      } else if (tries === 20) throw new Error(faults.join("; "));
      await pause(100);
    }
  },
}));

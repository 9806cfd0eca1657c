/** Virtual machines: how fast they start (from a template, cold), and what each takes. Peers run a container instead. */
import { setTimeout as sleep } from "node:timers/promises";
import type { BerthEngine } from "../berth-engine.ts";
import { type Bench, type BenchCase, time } from "../case.ts";
import { createContainer, inParallel, removeContainer, sleeper, startContainer } from "../containers.ts";
import { descendantsOf, pssMiB } from "../engine-processes.ts";
import { type MeasuredEngine, smallImage } from "../measured-engine.ts";
import { duration, type Metric } from "../metric.ts";
import { bootRaw, type RawMachine, rawMachineLike } from "../raw-qemu.ts";

const fromTemplate = duration(
  "vm.template",
  "`run --rm --runtime vm` from a template; peers: a container, bridge",
  1.5,
);
const fromPool = duration(
  "vm.pool",
  "`run --rm --runtime vm` from a pool of waiting machines; peers: a container, bridge",
  0.6,
);
const manyAtOnce: Metric = {
  id: "vm.many",
  label: "10 machines started at once, until the last one's process runs, raw API",
  unit: "ms",
  better: "less",
  target: { kind: "value", bound: 2500 },
};
const eachClone: Metric = {
  id: "vm.pss",
  label: "PSS of each of 30 idle machines (QEMU, its parent, its monitor)",
  unit: "MiB",
  better: "less",
  target: { kind: "value", bound: 40 },
};
const coldBoot = duration("vm.cold", "a machine that boots, until its process runs, raw API");
const rawBoot = duration("vm.raw", "QEMU alone with the same line, until the guest's agent answers");
const coldShare: Metric = {
  id: "vm.cold.share",
  label: "the former as a multiple of the latter",
  unit: "x",
  better: "less",
  target: { kind: "value", bound: 1.1 },
};

const settleMs = 3000;
const poolSize = 1;
const templateMs = 120_000;

export const machineStart: BenchCase = {
  name: "vm",
  about: "run --rm of a virtual machine from a template, beside a container of the peers",
  warmUps: 2,
  prepare: awaitTemplate,
  async turn({ engine, record }) {
    const runtime = engine.isBerth ? ["--runtime", "vm"] : [];
    const words = ["run", "--rm", "--name", engine.nextName(), "--network", "bridge", ...runtime, smallImage, "true"];
    record(fromTemplate, await engine.timeDocker(...words));
  },
};

/** The engine with a pool: filled again before anybody's next turn, so that no turn pays for that. */
let pooled: BerthEngine | undefined;

export const machinePool: BenchCase = {
  name: "vmpool",
  about: "run --rm of a virtual machine from a pool, beside a container of the peers",
  warmUps: 2,
  async prepare(engine, bench) {
    if (!engine.isBerth) return undefined;
    const stack = new AsyncDisposableStack();
    pooled = stack.use(await bench.openBerth(["--machine-pool", String(poolSize)]));
    await awaitTemplate(pooled.measured, bench);
    await awaitPool(pooled.measured, bench);
    return stack;
  },
  async turn({ engine, record }, bench) {
    const measured = engine.isBerth ? pooled?.measured : engine;
    if (measured === undefined) return;
    const runtime = engine.isBerth ? ["--runtime", "vm"] : [];
    const words = ["run", "--rm", "--name", measured.nextName(), "--network", "bridge", ...runtime, smallImage, "true"];
    record(fromPool, await measured.timeDocker(...words));
    if (engine.isBerth) await awaitPool(measured, bench);
  },
};

export const machineFleet: BenchCase = {
  name: "vmfleet",
  about: "10 virtual machines at once, and the memory of 30 idle ones",
  berthOnly: true,
  share: 1 / 3,
  prepare: awaitTemplate,
  async turn({ engine, record }, { signal }) {
    const names = Array.from({ length: 30 }, () => engine.nextName());
    await inParallel(names, 4, async (name) => {
      await createContainer(engine, { name, command: sleeper, runtime: "vm" });
    });
    const ten = names.slice(0, 10);
    record(
      manyAtOnce,
      await time(async () => await inParallel(ten, 10, async (name) => await startContainer(engine, name))),
    );
    await inParallel(names.slice(10), 2, async (name) => await startContainer(engine, name));
    await sleep(settleMs, undefined, { signal });
    const pids = (await Promise.all(names.map(async (name) => await machinePids(engine, name)))).flat();
    record(eachClone, pssMiB(pids) / names.length);
    await inParallel(names, 4, async (name) => await removeContainer(engine, name));
  },
};

/** The engine whose machines all boot, and QEMU's line of one. */
let cold: { readonly engine: BerthEngine; readonly raw: RawMachine } | undefined;

export const machineBoot: BenchCase = {
  name: "vmcold",
  about: "a virtual machine that boots, beside QEMU alone with the same line",
  berthOnly: true,
  share: 1 / 2,
  async prepare(_engine, bench) {
    const stack = new AsyncDisposableStack();
    const engine = stack.use(await bench.openBerth(["--machine-templates", "0"]));
    const name = engine.measured.nextName();
    await createContainer(engine.measured, { name, command: sleeper, runtime: "vm" });
    await startContainer(engine.measured, name);
    const raw = await rawMachineLike(await machinePids(engine.measured, name), bench.directory, engine.dataRoot);
    await removeContainer(engine.measured, name);
    cold = { engine, raw };
    return stack;
  },
  async turn({ record }, { signal }) {
    if (cold === undefined) return;
    const { measured } = cold.engine;
    const id = await createContainer(measured, { command: sleeper, runtime: "vm" });
    const ours = await time(async () => await startContainer(measured, id));
    await removeContainer(measured, id);
    const theirs = await bootRaw(cold.raw, signal);
    record(coldBoot, ours);
    record(rawBoot, theirs);
    record(coldShare, ours / theirs);
  },
};

/** Boots the first machine of the image, beside which the template is made; then there are two of it, for a network and for none. */
async function awaitTemplate(engine: MeasuredEngine, bench: Bench): Promise<undefined> {
  if (!engine.isBerth) return;
  await engine.docker("run", "--rm", "--runtime", "vm", smallImage, "true");
  const deadline = performance.now() + templateMs;
  for (;;) {
    const { BuildCache } = await engine.api.call<{ readonly BuildCache: readonly { readonly Type: string }[] }>(
      "GET",
      "/system/df",
    );
    if (BuildCache.some(({ Type }) => Type === "berth.machine-template")) return;
    if (performance.now() > deadline) throw new Error("the engine has made no template");
    await sleep(100, undefined, { signal: bench.signal });
  }
}

async function awaitPool(engine: MeasuredEngine, bench: Bench): Promise<void> {
  const deadline = performance.now() + templateMs;
  for (;;) {
    const { machinePool } = await engine.api.call<{ readonly machinePool: { readonly waiting: number } }>(
      "GET",
      "/berth/info",
    );
    if (machinePool.waiting === poolSize) return;
    if (performance.now() > deadline) throw new Error("no machine waits");
    await sleep(50, undefined, { signal: bench.signal });
  }
}

/** The monitor of a machine's jail, and all that runs in it. */
async function machinePids(engine: MeasuredEngine, name: string): Promise<readonly number[]> {
  const { State } = await engine.api.call<{ readonly State: { readonly Pid: number } }>(
    "GET",
    `/containers/${name}/json`,
  );
  return descendantsOf(State.Pid);
}

/** A machine's size: processors, memory and disks, at once where its guest can take it, else from its next start on. */
import { join } from "node:path";
import { systemClock } from "../../base/clock.ts";
import { isBerthError, messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { disksDir } from "../../instances/machine/layout.ts";
import { machineCpus, machineMemory } from "../../instances/qemu/machine-size.ts";
import { growDisk } from "../../qemu/disks.ts";
import type { GuestAgent } from "../../qemu/qga-client.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import { balloon, cpuCount, memoryBlock, memorySize, plugCpus, plugMemory } from "../../qemu/size.ts";
import type { MachineSpec } from "../../schema/machine.ts";
import type { ChangeReport, ResizeMachineBody } from "../../schema/machine-live-api.ts";
import type { ResourceSpec } from "../../schema/resources.ts";
import { diskErrors } from "../../disks/errors.ts";
import { type MachineParts, machinePaths } from "../parts.ts";
import { changeMachine, type Changing } from "./changing.ts";
import { withDiskNote } from "./disk-notes.ts";
import { findDisk } from "./disks.ts";
import { isRunning, openMonitor } from "./monitor.ts";

type Change = ChangeReport["changes"][number];

const MiB = 1024 * 1024;
const answerMs = 2_000;
/** For a guest under emulation to find what was plugged in. */
const foundMs = 10_000;
const lookMs = 200;

export async function resizeMachine(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  { cpus, memory, disks = {} }: ResizeMachineBody,
): Promise<ChangeReport> {
  return await changeMachine(parts, ctx, nameOrId, async (at) => {
    const sizes = Object.entries(disks).map(([name, size]) => ({ disk: findDisk(at, name), size: sectors(size) }));
    for (const { disk, size } of sizes) {
      if (size < disk.size) {
        throw diskErrors.DISK_SHRINK_REFUSED({ file: disk.name, bytes: disk.size, wanted: size });
      }
    }
    using monitor = isRunning(at.record) ? await openMonitor(parts, ctx, at.record) : undefined;
    const changes: Change[] = [];
    for (const { disk, size } of sizes) changes.push(await resizeDisk(parts, ctx, at, monitor?.qmp, disk.name, size));
    if (cpus !== undefined || memory !== undefined) {
      changes.push(...(await resizeInside(parts, ctx, at, monitor?.qmp, { cpus, memory })));
    }
    return { changes };
  });
}

const sectors = (bytes: number) => Math.ceil(bytes / 512) * 512;

/** Recorded first, which asks the ledger; when it can't grow, the record is as it was. */
async function resizeDisk(
  parts: MachineParts,
  ctx: OpContext,
  at: Changing,
  qmp: QmpClient | undefined,
  name: string,
  size: number,
): Promise<Change> {
  const { held, dataDir } = at;
  const { file, format, size: before } = findDisk(at, name);
  const record = (bytes: number) =>
    held.update((spec) => withMachine(spec, (machine) => ({ ...machine, disks: withSize(machine, name, bytes) })));
  await withDiskNote(dataDir, { grown: name }, async () => {
    await using reverter = new Reverter(ctx);
    record(size);
    reverter.add("record", () => void record(before));
    if (qmp === undefined) await parts.disks.resize(ctx, { file: join(disksDir(dataDir), file), format }, size);
    else await growDisk(ctx, qmp, name, size);
    reverter.commit();
  });
  const note = "its partitions and file systems grow in the guest (growpart, resize2fs)";
  return { what: `disk ${name}`, when: qmp === undefined ? "at the next start" : "now", note };
}

const withSize = ({ disks }: MachineSpec, name: string, size: number) =>
  disks.map((disk) => (disk.name === name ? { ...disk, size } : disk));

function withMachine<T extends { readonly machine?: MachineSpec }>(
  spec: T,
  change: (machine: MachineSpec) => MachineSpec,
): T {
  return spec.machine === undefined ? spec : { ...spec, machine: change(spec.machine) };
}

interface InsideSize {
  readonly cpus: number | undefined;
  readonly memory: number | undefined;
}

/** Recorded first, with what the host gives it; what the guest can't take now, it has at its next start. */
async function resizeInside(
  parts: MachineParts,
  ctx: OpContext,
  at: Changing,
  qmp: QmpClient | undefined,
  wanted: InsideSize,
): Promise<readonly Change[]> {
  const { held, record } = at;
  const before = record.spec.resources;
  const cpus = wanted.cpus ?? machineCpus(before, Number.MAX_SAFE_INTEGER);
  const memory = wanted.memory === undefined ? machineMemory(before) : Math.ceil(wanted.memory / MiB) * MiB;
  const after: ResourceSpec = { ...before, memory, nanoCpus: cpus * 1e9 };
  held.update((spec) => ({
    ...withMachine(spec, (machine) => ({
      ...machine,
      maxCpus: Math.max(machine.maxCpus, cpus),
      maxMemory: Math.max(machine.maxMemory, memory),
    })),
    resources: after,
  }));
  if (qmp === undefined) return namesOf(wanted).map((what) => ({ what, when: "at the next start", note: "" }));
  // The host's side: never less than what the guest has until it has let go.
  await held.applyLimits(ctx, { ...after, memory: Math.max(memory, machineMemory(before)) });
  const changes: Change[] = [];
  if (wanted.cpus !== undefined) changes.push(await cpusNow(parts, ctx, at, qmp, cpus));
  if (wanted.memory !== undefined) changes.push(await memoryNow(parts, ctx, at, qmp, memory));
  return changes;
}

const namesOf = ({ cpus, memory }: InsideSize) => [
  ...(cpus === undefined ? [] : ["processors"]),
  ...(memory === undefined ? [] : ["memory"]),
];

async function cpusNow(
  parts: MachineParts,
  ctx: OpContext,
  at: Changing,
  qmp: QmpClient,
  count: number,
): Promise<Change> {
  const what = "processors";
  const has = await cpuCount(ctx, qmp);
  if (count < has) return { what, when: "at the next start", note: `the guest keeps its ${has} until then` };
  if (count === has) return { what, when: "now", note: "" };
  const agent = await agentOf(parts, ctx, at);
  try {
    await plugCpus(ctx, qmp, count);
  } catch (error) {
    return late(ctx, what, error);
  }
  const note = await takenIntoUse(ctx, agent, async (asked) => (await asked.onlineCpus(ctx)) >= count);
  return { what, when: "now", note };
}

async function memoryNow(
  parts: MachineParts,
  ctx: OpContext,
  at: Changing,
  qmp: QmpClient,
  bytes: number,
): Promise<Change> {
  const what = "memory";
  const { base, plugged } = await memorySize(ctx, qmp);
  const more = bytes - (base + plugged);
  const agent = more > 0 || plugged > 0 ? await agentOf(parts, ctx, at) : undefined;
  let blocks = 0;
  try {
    if (more <= 0) {
      // The balloon takes of what the guest uses: what was plugged in and is not in use yet would be taken twice.
      if (plugged > 0) {
        if (agent === undefined)
          return { what, when: "at the next start", note: "no agent answers that could tell what is in use" };
        await agent.onlineMemory(ctx);
      }
      await balloon(ctx, qmp, bytes);
      return {
        what,
        when: "now",
        note: more < 0 ? "the guest gives back what it can spare, by its balloon driver" : "",
      };
    }
    blocks = (await agent?.onlineMemory(ctx)) ?? 0;
    const added = Math.ceil(more / memoryBlock) * memoryBlock;
    await plugMemory(ctx, qmp, added);
    // What the balloon took before.
    await balloon(ctx, qmp, base + plugged + added);
  } catch (error) {
    return late(ctx, what, error);
  }
  const note = await takenIntoUse(ctx, agent, async (asked) => (await asked.onlineMemory(ctx)) > blocks);
  return { what, when: "now", note };
}

/** What can't be had now is no failure: the next start has it. */
function late(ctx: OpContext, what: string, error: unknown): Change {
  ctx.signal.throwIfAborted();
  if (!isBerthError(error)) throw error;
  return { what, when: "at the next start", note: messageOf(error) };
}

/** Undefined when none answers. */
async function agentOf(parts: MachineParts, ctx: OpContext, { record }: Changing): Promise<GuestAgent | undefined> {
  const agent = parts.agents.at(machinePaths(parts, record.id).qga);
  return (await agent.isThere(ctx, answerMs)) ? agent : undefined;
}

/** Has the agent switch on what was plugged in, once the guest has found it. What is left to say of it, "" for nothing. */
async function takenIntoUse(
  ctx: OpContext,
  agent: GuestAgent | undefined,
  switchOn: (agent: GuestAgent) => Promise<boolean>,
): Promise<string> {
  const left = "the guest has to switch it on, if it does not do so by itself";
  if (agent === undefined) return `${left}: no agent answers`;
  try {
    for (let waited = 0; waited < foundMs; waited += lookMs) {
      if (await switchOn(agent)) return "";
      await systemClock.sleep(lookMs, ctx.signal);
    }
    return `${left}: it has not found it yet`;
  } catch (error) {
    ctx.signal.throwIfAborted();
    return `${left}: ${messageOf(error)}`;
  }
}

/** Snapshots of machines, and machines put to sleep. */
import { humanDuration } from "../../../base/human-duration.ts";
import { LiveMachinesClient } from "../../../client/live-machines.ts";
import type { MachineSnapshot } from "../../../schema/machine-live-api.ts";
import { defineCommand, flag, text } from "../../command.ts";
import { forEachWord } from "../../each.ts";
import { type Column, printListing } from "../../render/listing.ts";

export const create = defineCommand({
  arguments: "MACHINE [SNAPSHOT]",
  options: {
    disksOnly: flag("Without memory: as after a power cut, or quiet where the guest's agent can see to it"),
    description: text("TEXT", "What it is for"),
  },
  help: "Of a machine that runs: disks, memory and devices, to go on from there. Of one that is off: its disks.",
  async run(ctx, [machine = "", name], { disksOnly, description }) {
    const snapshot = await new LiveMachinesClient(ctx.client).createSnapshot(machine, {
      ...(name === undefined ? {} : { name }),
      ...(description === undefined ? {} : { description }),
      ...(disksOnly ? { memory: false } : {}),
    });
    ctx.stdout.write(`${snapshot.name}\n`);
  },
});

export const list = defineCommand({
  arguments: "MACHINE",
  options: { format: text("TEMPLATE", "json, table, or a Go template"), quiet: flag("Only names", "q") },
  help: "As a tree: each under the one that it came of. * is where the machine came of last.",
  async run(ctx, [machine = ""], { format, quiet }) {
    const snapshots = inTreeOrder(await new LiveMachinesClient(ctx.client).snapshots(machine));
    if (quiet) for (const { name } of snapshots) ctx.stdout.write(`${name}\n`);
    else printListing(ctx, columns(ctx.now()), snapshots, format);
  },
});

export const revert = defineCommand({
  arguments: "MACHINE SNAPSHOT",
  options: { disksOnly: flag("Put back its disks alone, and boot from them where it runs") },
  help: "What the machine has done since is lost. With memory it runs on as it did then.",
  run: (ctx, [machine = "", snapshot = ""], { disksOnly }) =>
    new LiveMachinesClient(ctx.client).revert(machine, snapshot, { disksOnly }),
});

export const remove = defineCommand({
  arguments: "MACHINE SNAPSHOT [SNAPSHOT...]",
  options: {},
  help: "Those that came of it stay.",
  run: (ctx, [machine = "", ...snapshots]) =>
    forEachWord(ctx, snapshots, (snapshot) => new LiveMachinesClient(ctx.client).removeSnapshot(machine, snapshot), {
      hints: true,
    }),
});

export const save = defineCommand({
  arguments: "MACHINE [MACHINE...]",
  options: { discard: flag("Give up what was saved: the next start boots") },
  help: "Switches it off with its memory kept in its disk. 'berth machine start' goes on where it was.",
  run: (ctx, words, { discard }) =>
    forEachWord(ctx, words, (machine) => new LiveMachinesClient(ctx.client).save(machine, { discard }), {
      hints: true,
    }),
});

interface Placed extends MachineSnapshot {
  readonly depth: number;
}

function inTreeOrder(snapshots: readonly MachineSnapshot[], parent = "", depth = 0): readonly Placed[] {
  return snapshots
    .filter((each) => each.parent === parent)
    .flatMap((each) => [{ ...each, depth }, ...inTreeOrder(snapshots, each.id, depth + 1)]);
}

function columns(now: number): readonly Column<Placed>[] {
  return [
    {
      heading: "SNAPSHOT",
      field: "Name",
      value: ({ name, depth, current }) => `${"  ".repeat(depth)}${name}${current ? " *" : ""}`,
    },
    { heading: "ID", field: "ID", value: ({ id }) => id },
    {
      heading: "CREATED",
      field: "CreatedAt",
      value: ({ createdAt }) => `${humanDuration(now - Date.parse(createdAt))} ago`,
    },
    { heading: "MEMORY", field: "Memory", value: ({ memory }) => (memory ? "yes" : "no") },
    { heading: "DESCRIPTION", field: "Description", value: ({ description }) => description },
    { heading: "PARENT", field: "Parent", value: ({ parent }) => parent, hidden: true },
  ];
}

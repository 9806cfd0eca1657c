/** Looking at machines. */
import { sizeText } from "../../../base/byte-size.ts";
import { humanDuration } from "../../../base/human-duration.ts";
import { shortId } from "../../../base/ids.ts";
import { MachinesClient } from "../../../client/machines.ts";
import type { MachineView } from "../../../schema/machine-api.ts";
import { defineCommand, flag, text } from "../../command.ts";
import { type Column, printListing, printObject } from "../../render/listing.ts";
import { renderTable } from "../../render/table.ts";

export const list = defineCommand({
  arguments: "",
  options: {
    running: flag("Only those that run"),
    quiet: flag("Only names", "q"),
    format: text("TEMPLATE", "json, table, or a Go template"),
    json: flag("Same as --format json"),
  },
  async run(ctx, _words, values) {
    const all = await new MachinesClient(ctx.client).list();
    const machines = values.running ? all.filter(runs) : all;
    if (values.quiet) {
      for (const { name } of machines) ctx.stdout.write(`${name}\n`);
      return;
    }
    printListing(ctx, columns(ctx.now()), machines, values.json ? "json" : values.format);
  },
});

export const inspect = defineCommand({
  arguments: "MACHINE [MACHINE...]",
  options: { format: text("TEMPLATE", "A Go template, or json", "f") },
  async run(ctx, words, { format }) {
    const client = new MachinesClient(ctx.client);
    const found: MachineView[] = [];
    for (const name of words) found.push(await client.inspect(name));
    if (format === undefined) ctx.stdout.write(`${JSON.stringify(found, null, 4)}\n`);
    else for (const machine of found) printObject(ctx, machine, format);
  },
});

export const ip = defineCommand({
  arguments: "MACHINE",
  options: { quiet: flag("Only IPv4 addresses, without their prefix length", "q") },
  help: "As the guest's agent says; as the networks assign them where no agent answers.",
  async run(ctx, [name = ""], { quiet }) {
    const { interfaces } = await new MachinesClient(ctx.client).addresses(name);
    if (quiet) {
      const usable = interfaces.filter((each) => each.name !== "lo").flatMap(({ addresses }) => addresses);
      for (const address of usable) if (!address.includes(":")) ctx.stdout.write(`${address.split("/")[0]}\n`);
      return;
    }
    const rows = interfaces.map((each) => [each.name, each.mac, each.addresses.join(", "), each.source]);
    ctx.stdout.write(renderTable(["INTERFACE", "MAC", "ADDRESSES", "SOURCE"], rows));
  },
});

const runs = ({ status }: MachineView) => status === "running" || status === "paused";

function columns(now: number): readonly Column<MachineView>[] {
  return [
    { heading: "MACHINE ID", field: "ID", value: ({ id }) => shortId(id) },
    { heading: "NAME", field: "Name", value: ({ name }) => name },
    { heading: "STATUS", field: "Status", value: (machine) => statusText(machine, now) },
    { heading: "OS", field: "OS", value: ({ hardware }) => hardware.os },
    { heading: "CPUS", field: "CPUs", value: ({ cpus }) => String(cpus) },
    { heading: "MEMORY", field: "Memory", value: ({ memory }) => sizeText(memory) },
    {
      heading: "DISK",
      field: "Disk",
      value: ({ hardware }) => sizeText(hardware.disks.reduce((sum, { size }) => sum + size, 0)),
    },
    {
      heading: "ADDRESS",
      field: "Address",
      value: ({ nics }) => nics.flatMap(({ address }) => (address === "" ? [] : [address.split("/")[0]])).join(", "),
    },
    { heading: "SOURCE", field: "Source", value: ({ source }) => source },
  ];
}

function statusText({ status, startedAt, finishedAt, exitCode }: MachineView, now: number): string {
  const since = (time: string) => humanDuration(now - Date.parse(time));
  switch (status) {
    case "running":
      return `up ${since(startedAt)}`;
    case "exited":
      return `off${exitCode === 0 ? "" : ` (${exitCode})`}, ${since(finishedAt)} ago`;
    case "created":
      return "never started";
    case "paused":
    case "restarting":
    case "removing":
    case "dead":
      return status;
  }
}

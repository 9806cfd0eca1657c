/** `berth capacity`: what the machine has, who reserves how much of it, and what is used now. */
import type { CapacityReport, Holder, ResourceCapacity, ResourceName } from "../../schema/capacity.ts";
import { shortId } from "../../base/ids.ts";
import { defineCommand, flag, text } from "../command.ts";
import { printObject } from "../render/listing.ts";
import { renderTable } from "../render/table.ts";
import { binarySize } from "../render/units.ts";

export const capacity = defineCommand({
  arguments: "",
  options: {
    verbose: flag("What each holder uses, what is shared, and the data root's own use", "v"),
    format: text("TEMPLATE", "json, or a Go template", "f"),
    json: flag("Same as --format json"),
  },
  async run(ctx, _words, { verbose, format, json }) {
    const report = await ctx.client.call<CapacityReport>("GET", "/berth/v1/capacity", { query: { verbose } });
    if (format !== undefined || json) {
      printObject(ctx, report, json ? "json" : format);
      return;
    }
    const tables = [resourceTable(report.resources)];
    if (report.holders.length > 0) tables.push(holderTable(report.holders, verbose));
    if (verbose && report.shared.length > 0) tables.push(sharedTable(report.shared));
    ctx.stdout.write(tables.join("\n"));
  },
});

function resourceTable(resources: CapacityReport["resources"]): string {
  const rows = resources.map((row: ResourceCapacity) => {
    const amount = (value: number | null) => (value === null ? "-" : quantity(row.resource, value));
    return [
      row.resource.toUpperCase(),
      amount(row.total),
      amount(row.reserved),
      `x${row.ratio}`,
      amount(row.allocated),
      row.left < 0 ? `-${amount(-row.left)}` : amount(row.left),
      amount(row.shared),
      amount(row.inUse),
      amount(row.machineInUse),
    ];
  });
  return renderTable(
    ["RESOURCE", "TOTAL", "FOR HOST", "OVERCOMMIT", "ALLOCATED", "LEFT", "SHARED", "IN USE", "MACHINE IN USE"],
    rows,
  );
}

function holderTable(holders: readonly Holder[], verbose: boolean): string {
  const columns = ["cpu", "memory", "pids", "disk"] as const;
  const cell = ({ request, unbounded, inUse }: Holder, resource: ResourceName) => {
    const reserved = unbounded.includes(resource) ? "unbounded" : quantity(resource, request[resource]);
    return verbose && inUse !== undefined ? `${quantity(resource, inUse[resource])} / ${reserved}` : reserved;
  };
  const heading = (resource: string) => (verbose ? `${resource.toUpperCase()} USED / HELD` : resource.toUpperCase());
  return renderTable(
    ["HELD BY", "KIND", ...columns.map(heading)],
    holders.map((holder) => [
      holder.owner.name,
      holder.owner.kind,
      ...columns.map((resource) => cell(holder, resource)),
    ]),
  );
}

function sharedTable(shared: CapacityReport["shared"]): string {
  return renderTable(
    ["SHARED", "NAME", "DISK", "USERS"],
    shared.map(({ kind, name, disk, users }) => [
      kind,
      kind === "layer" ? shortId(name) : name,
      binarySize(disk),
      String(users),
    ]),
  );
}

/** CPUs, sizes in binary units, counts. */
function quantity(resource: ResourceName, value: number): string {
  switch (resource) {
    case "cpu":
      return String(Number((value / 1e9).toFixed(2)));
    case "memory":
    case "disk":
      return binarySize(value);
    case "pids":
      return String(value);
  }
}

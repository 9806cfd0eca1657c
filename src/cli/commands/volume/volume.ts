import { defineCommand, flag, list as listOption, text } from "../../command.ts";
import { forEachWord } from "../../each.ts";
import { filtersQuery } from "../../render/filters.ts";
import { type Column, printListing } from "../../render/listing.ts";
import { decimalSize } from "../../render/units.ts";
import { confirm } from "../../terminal/confirm.ts";
import { pairs } from "../container/create-body.ts";

interface Volume {
  readonly Name: string;
  readonly Driver: string;
  readonly Mountpoint: string;
  readonly Scope: string;
  readonly Labels: Readonly<Record<string, string>> | null;
}

export const list = defineCommand({
  arguments: "",
  options: {
    quiet: flag("Only names", "q"),
    filter: listOption("NAME=VALUE", "dangling, driver, label, name", "f"),
    format: text("TEMPLATE", "json, table, or a Go template"),
    json: flag("Same as --format json"),
  },
  async run(ctx, _words, { quiet, filter, format, json }) {
    const { Volumes } = await ctx.client.call<{ Volumes: readonly Volume[] | null }>("GET", "/volumes", {
      query: { filters: filtersQuery(filter) },
    });
    const volumes = [...(Volumes ?? [])].sort((a, b) => (a.Name < b.Name ? -1 : 1));
    if (quiet) {
      for (const { Name } of volumes) ctx.stdout.write(`${Name}\n`);
      return;
    }
    const columns: readonly Column<Volume>[] = [
      { heading: "DRIVER", field: "Driver", value: ({ Driver }) => Driver },
      { heading: "VOLUME NAME", field: "Name", value: ({ Name }) => Name },
      { heading: "SCOPE", field: "Scope", value: ({ Scope }) => Scope, hidden: true },
      { heading: "MOUNTPOINT", field: "Mountpoint", value: ({ Mountpoint }) => Mountpoint, hidden: true },
      {
        heading: "LABELS",
        field: "Labels",
        value: ({ Labels }) =>
          Object.entries(Labels ?? {})
            .map(([key, value]) => `${key}=${value}`)
            .join(","),
        hidden: true,
      },
    ];
    printListing(ctx, columns, volumes, json ? "json" : format);
  },
});

export const create = defineCommand({
  arguments: "[VOLUME]",
  options: {
    driver: text("DRIVER", "local (default)", "d"),
    opt: listOption("KEY=VALUE", "Driver option: type, device, o", "o"),
    label: listOption("KEY=VALUE", "Set a label"),
  },
  async run(ctx, [name = ""], values) {
    const body = {
      Name: name,
      Driver: values.driver ?? "local",
      DriverOpts: pairs(values.opt, "opt"),
      Labels: pairs(values.label, "label"),
    };
    const { Name } = await ctx.client.call<Volume>("POST", "/volumes/create", { body });
    ctx.stdout.write(`${Name}\n`);
  },
});

export const remove = defineCommand({
  arguments: "VOLUME [VOLUME...]",
  options: { force: flag("No error when it does not exist", "f") },
  run: (ctx, words, { force }) =>
    forEachWord(ctx, words, (name) => ctx.client.call("DELETE", `/volumes/${name}`, { query: { force } })),
});

export const prune = defineCommand({
  arguments: "",
  options: {
    all: flag("Named ones too", "a"),
    force: flag("Don't ask", "f"),
    filter: listOption("NAME=VALUE", "label"),
  },
  async run(ctx, _words, { all, force, filter }) {
    if (
      !force &&
      !(await confirm(
        ctx,
        `This will remove ${all ? "all" : "anonymous"} local volumes not used by at least one container.`,
      ))
    )
      return;
    const filters = filtersQuery(all ? [...filter, "all=true"] : filter);
    const { VolumesDeleted, SpaceReclaimed } = await ctx.client.call<{
      VolumesDeleted: readonly string[] | null;
      SpaceReclaimed: number;
    }>("POST", "/volumes/prune", { query: { filters } });
    if ((VolumesDeleted ?? []).length > 0)
      ctx.stdout.write(`Deleted Volumes:\n${(VolumesDeleted ?? []).join("\n")}\n\n`);
    ctx.stdout.write(`Total reclaimed space: ${decimalSize(SpaceReclaimed)}\n`);
  },
});

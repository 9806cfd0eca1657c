import { humanDuration } from "../../../base/human-duration.ts";
/** Names, removal and history of images. */
import { messageOf } from "../../../base/errors.ts";
import { shortId } from "../../../base/ids.ts";
import { defineCommand, flag, list, text } from "../../command.ts";
import { filtersQuery } from "../../render/filters.ts";
import { type Column, printListing } from "../../render/listing.ts";
import { decimalSize } from "../../render/units.ts";
import { confirm } from "../../terminal/confirm.ts";
import { splitReference } from "../container/change.ts";

export type Removed = { readonly Untagged?: string; readonly Deleted?: string };

export const tag = defineCommand({
  arguments: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
  options: {},
  async run(ctx, [source, target = ""]) {
    await ctx.client.call("POST", `/images/${source}/tag`, { query: { ...splitReference(target) } });
  },
});

export const remove = defineCommand({
  arguments: "IMAGE [IMAGE...]",
  options: { force: flag("Remove it although it is used", "f"), noPrune: flag("Keep untagged parents") },
  async run(ctx, words, { force, noPrune }) {
    for (const name of words) {
      try {
        const removed = await ctx.client.call<readonly Removed[]>("DELETE", `/images/${name}`, {
          query: { force, noprune: noPrune },
        });
        for (const { Untagged, Deleted } of removed)
          ctx.stdout.write(Untagged === undefined ? `Deleted: ${Deleted}\n` : `Untagged: ${Untagged}\n`);
      } catch (error) {
        ctx.stderr.write(`Error: ${messageOf(error)}\n`);
        ctx.setExitCode(1);
      }
    }
  },
});

export const prune = defineCommand({
  arguments: "",
  options: {
    all: flag("Every unused image, not only dangling ones", "a"),
    force: flag("Don't ask", "f"),
    filter: list("NAME=VALUE", "until, label"),
  },
  async run(ctx, _words, { all, force, filter }) {
    if (
      !force &&
      !(await confirm(
        ctx,
        `This will remove all ${all ? "images without at least one container associated to them" : "dangling images"}.`,
      ))
    )
      return;
    const filters = filtersQuery([...filter, `dangling=${all ? "false" : "true"}`]);
    const { ImagesDeleted, SpaceReclaimed } = await ctx.client.call<{
      ImagesDeleted: readonly Removed[] | null;
      SpaceReclaimed: number;
    }>("POST", "/images/prune", { query: { filters } });
    for (const { Untagged, Deleted } of ImagesDeleted ?? [])
      ctx.stdout.write(Untagged === undefined ? `deleted: ${Deleted}\n` : `untagged: ${Untagged}\n`);
    ctx.stdout.write(`Total reclaimed space: ${decimalSize(SpaceReclaimed)}\n`);
  },
});

interface HistoryItem {
  readonly Id: string;
  readonly Created: number;
  readonly CreatedBy: string;
  readonly Size: number;
  readonly Comment: string;
}

export const history = defineCommand({
  arguments: "IMAGE",
  options: {
    noTrunc: flag("Don't shorten"),
    quiet: flag("Only ids", "q"),
    format: text("TEMPLATE", "json, table, or a Go template"),
    json: flag("Same as --format json"),
  },
  async run(ctx, [name], { noTrunc, quiet, format, json }) {
    const items = await ctx.client.call<readonly HistoryItem[]>("GET", `/images/${name}/history`);
    const id = ({ Id }: HistoryItem) => (noTrunc || Id === "<missing>" ? Id : shortId(Id));
    if (quiet) {
      for (const item of items) ctx.stdout.write(`${id(item)}\n`);
      return;
    }
    const columns: readonly Column<HistoryItem>[] = [
      { heading: "IMAGE", field: "ID", value: id },
      {
        heading: "CREATED",
        field: "CreatedSince",
        value: ({ Created }) => `${humanDuration(ctx.now() - Created * 1000)} ago`,
      },
      {
        heading: "CREATED BY",
        field: "CreatedBy",
        value: ({ CreatedBy }) =>
          (noTrunc || CreatedBy.length <= 45 ? CreatedBy : `${CreatedBy.slice(0, 44)}…`).replaceAll("\t", " "),
      },
      { heading: "SIZE", field: "Size", value: ({ Size }) => decimalSize(Size) },
      { heading: "COMMENT", field: "Comment", value: ({ Comment }) => Comment },
    ];
    printListing(ctx, columns, items, json ? "json" : format);
  },
});

import { shortId } from "../../base/ids.ts";
import { defineCommand, flag, text } from "../command.ts";
import { printObject } from "../render/listing.ts";
import { renderTable } from "../render/table.ts";
import { decimalSize } from "../render/units.ts";

interface Sums {
  readonly TotalCount: number;
  readonly ActiveCount: number;
  readonly TotalSize: number;
  readonly Reclaimable: number;
}

interface DiskUsage {
  readonly ImageUsage: Sums;
  readonly ContainerUsage: Sums;
  readonly VolumeUsage: Sums;
  readonly BuildCacheUsage: Sums;
  readonly Images:
    | readonly {
        readonly Id: string;
        readonly RepoTags: readonly string[] | null;
        readonly Size: number;
        readonly SharedSize: number;
        readonly Containers: number;
      }[]
    | null;
  readonly Containers:
    | readonly {
        readonly Id: string;
        readonly Names: readonly string[];
        readonly Image: string;
        readonly SizeRw?: number;
        readonly State: string;
        readonly Status: string;
      }[]
    | null;
  readonly Volumes:
    | readonly {
        readonly Name: string;
        readonly UsageData?: { readonly Size: number; readonly RefCount: number } | null;
      }[]
    | null;
  readonly BuildCache:
    | readonly {
        readonly ID: string;
        readonly Description: string;
        readonly Size: number;
        readonly InUse: boolean;
        readonly Shared: boolean;
      }[]
    | null;
}

export const df = defineCommand({
  arguments: "",
  options: {
    format: text("TEMPLATE", "json, or a Go template"),
    json: flag("Same as --format json"),
    verbose: flag("Each image, container and volume", "v"),
  },
  async run(ctx, _words, { format, json, verbose }) {
    const usage = await ctx.client.call<DiskUsage>("GET", "/system/df");
    if (format !== undefined || json) {
      printObject(ctx, usage, json ? "json" : format);
      return;
    }
    if (verbose) {
      ctx.stdout.write(eachThing(usage));
      return;
    }
    const row = (type: string, { TotalCount, ActiveCount, TotalSize, Reclaimable }: Sums) => [
      type,
      String(TotalCount),
      String(ActiveCount),
      decimalSize(TotalSize, 4),
      TotalSize > 0
        ? `${decimalSize(Reclaimable, 4)} (${Math.round((Reclaimable / TotalSize) * 100)}%)`
        : decimalSize(Reclaimable, 4),
    ];
    ctx.stdout.write(
      renderTable(
        ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"],
        [
          row("Images", usage.ImageUsage),
          row("Containers", usage.ContainerUsage),
          row("Local Volumes", usage.VolumeUsage),
          row("Build Cache", usage.BuildCacheUsage),
        ],
      ),
    );
  },
});

/** `-v`: a table of every kind. */
function eachThing({ Images, Containers, Volumes, BuildCache }: DiskUsage): string {
  const images = (Images ?? []).map(({ Id, RepoTags, Size, SharedSize, Containers: users }) => [
    (RepoTags ?? [])[0] ?? "<none>",
    shortId(Id),
    decimalSize(Size),
    decimalSize(Math.max(0, SharedSize)),
    decimalSize(Size - Math.max(0, SharedSize)),
    String(Math.max(0, users)),
  ]);
  const containers = (Containers ?? []).map(({ Id, Image, SizeRw, Status, Names }) => [
    shortId(Id),
    Image,
    decimalSize(SizeRw ?? 0),
    Status,
    Names.map((name) => name.replace(/^\//, "")).join(","),
  ]);
  const volumes = (Volumes ?? []).map(({ Name, UsageData }) => [
    Name,
    String(Math.max(0, UsageData?.RefCount ?? 0)),
    decimalSize(Math.max(0, UsageData?.Size ?? 0)),
  ]);
  const cache = (BuildCache ?? []).map(({ ID, Description, Size, InUse, Shared }) => [
    shortId(ID),
    decimalSize(Size),
    String(InUse),
    String(Shared),
    Description.length > 60 ? `${Description.slice(0, 59)}…` : Description,
  ]);
  return [
    `Images:\n\n${renderTable(["IMAGE", "IMAGE ID", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"], images)}`,
    `Containers:\n\n${renderTable(["CONTAINER ID", "IMAGE", "SIZE", "STATUS", "NAMES"], containers)}`,
    `Local Volumes:\n\n${renderTable(["VOLUME NAME", "LINKS", "SIZE"], volumes)}`,
    `Build cache:\n\n${renderTable(["IMAGE ID", "SIZE", "IN USE", "SHARED", "STEP"], cache)}`,
  ].join("\n");
}

import { shortId } from "../../base/ids.ts";
import { defineCommand, flag, text } from "../command.ts";
import { printObject } from "../render/listing.ts";
import { renderTable } from "../render/table.ts";
import { decimalSize } from "../render/units.ts";

interface DiskUsage {
  readonly LayersSize: number;
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
  readonly BuildCache: readonly { readonly Size: number; readonly InUse: boolean; readonly Shared: boolean }[] | null;
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
    const images = usage.Images ?? [];
    const containers = usage.Containers ?? [];
    const volumes = (usage.Volumes ?? []).flatMap(({ UsageData }) => UsageData ?? []);
    const cache = usage.BuildCache ?? [];
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + Math.max(0, value), 0);
    const row = (type: string, total: number, active: number, size: number, free: number) => [
      type,
      String(total),
      String(active),
      decimalSize(size, 4),
      size > 0 ? `${decimalSize(free, 4)} (${Math.round((free / size) * 100)}%)` : decimalSize(free, 4),
    ];
    const running = containers.filter(
      ({ State }) => State === "running" || State === "paused" || State === "restarting",
    );
    const used = images.filter(({ Containers }) => Containers > 0);
    ctx.stdout.write(
      renderTable(
        ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"],
        [
          row(
            "Images",
            images.length,
            used.length,
            usage.LayersSize,
            Math.max(0, usage.LayersSize - sum(used.map(({ Size }) => Size))),
          ),
          row(
            "Containers",
            containers.length,
            running.length,
            sum(containers.map(({ SizeRw }) => SizeRw ?? 0)),
            sum(containers.filter((container) => !running.includes(container)).map(({ SizeRw }) => SizeRw ?? 0)),
          ),
          row(
            "Local Volumes",
            volumes.length,
            volumes.filter(({ RefCount }) => RefCount > 0).length,
            sum(volumes.map(({ Size }) => Size)),
            sum(volumes.filter(({ RefCount }) => RefCount <= 0).map(({ Size }) => Size)),
          ),
          row(
            "Build Cache",
            cache.length,
            cache.filter(({ InUse }) => InUse).length,
            sum(cache.map(({ Size }) => Size)),
            sum(cache.filter(({ InUse, Shared }) => !InUse && !Shared).map(({ Size }) => Size)),
          ),
        ],
      ),
    );
  },
});

/** `-v`: a table of every kind. */
function eachThing({ Images, Containers, Volumes }: DiskUsage): string {
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
  return [
    `Images:\n\n${renderTable(["IMAGE", "IMAGE ID", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"], images)}`,
    `Containers:\n\n${renderTable(["CONTAINER ID", "IMAGE", "SIZE", "STATUS", "NAMES"], containers)}`,
    `Local Volumes:\n\n${renderTable(["VOLUME NAME", "LINKS", "SIZE"], volumes)}`,
  ].join("\n");
}

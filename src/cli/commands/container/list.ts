import { humanDuration } from "../../../base/human-duration.ts";
import { shortId } from "../../../base/ids.ts";
import { defineCommand, flag, integer, list as listOption, text } from "../../command.ts";
import { filtersQuery } from "../../render/filters.ts";
import { type Column, printListing } from "../../render/listing.ts";
import { decimalSize, goTime } from "../../render/units.ts";

interface Summary {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Image: string;
  readonly Command: string;
  readonly Created: number;
  readonly State: string;
  readonly Status: string;
  readonly Ports: readonly Port[];
  readonly Labels: Readonly<Record<string, string>>;
  readonly SizeRw?: number;
  readonly SizeRootFs?: number;
  readonly Mounts: readonly { readonly Name?: string; readonly Source: string }[];
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, unknown>> };
}

interface Port {
  readonly IP?: string;
  readonly PrivatePort: number;
  readonly PublicPort?: number;
  readonly Type: string;
}

export const list = defineCommand({
  arguments: "",
  options: {
    all: flag("Also those that don't run", "a"),
    quiet: flag("Only ids", "q"),
    noTrunc: flag("Don't shorten"),
    latest: flag("Only the newest", "l"),
    last: integer("N", "Only the N newest", "n"),
    size: flag("Show sizes", "s"),
    filter: listOption("NAME=VALUE", "status, name, label, ancestor, network, volume, health, …", "f"),
    format: text("TEMPLATE", "json, table, or a Go template"),
    json: flag("Same as --format json"),
  },
  async run(ctx, _words, values) {
    const limit = values.latest ? 1 : values.last;
    const query = {
      all: values.all || limit !== undefined,
      limit,
      // A template that shows sizes asks for them.
      size: values.size || /\.Size\b/.test(values.format ?? ""),
      filters: filtersQuery(values.filter),
    };
    const containers = await ctx.client.call<readonly Summary[]>("GET", "/containers/json", { query });
    if (values.quiet) {
      for (const { Id } of containers) ctx.stdout.write(`${values.noTrunc ? Id : shortId(Id)}\n`);
      return;
    }
    printListing(
      ctx,
      columns(ctx.now(), values.noTrunc, values.size),
      containers,
      values.json ? "json" : values.format,
    );
  },
});

function columns(now: number, full: boolean, size: boolean): readonly Column<Summary>[] {
  return [
    { heading: "CONTAINER ID", field: "ID", value: ({ Id }) => (full ? Id : shortId(Id)) },
    {
      heading: "IMAGE",
      field: "Image",
      value: ({ Image }) => (full ? Image : Image.replace(/^sha256:([0-9a-f]{12}).*/, "$1")),
    },
    {
      heading: "COMMAND",
      field: "Command",
      value: ({ Command }) => JSON.stringify(full || Command.length <= 20 ? Command : `${Command.slice(0, 19)}…`),
    },
    { heading: "CREATED", field: "RunningFor", value: ({ Created }) => `${humanDuration(now - Created * 1000)} ago` },
    { heading: "STATUS", field: "Status", value: ({ Status }) => Status },
    { heading: "PORTS", field: "Ports", value: ({ Ports }) => portsText(Ports) },
    { heading: "NAMES", field: "Names", value: ({ Names }) => Names.map((name) => name.replace(/^\//, "")).join(",") },
    {
      heading: "SIZE",
      field: "Size",
      value: ({ SizeRw = 0, SizeRootFs = 0 }) =>
        SizeRootFs === 0 ? decimalSize(SizeRw) : `${decimalSize(SizeRw)} (virtual ${decimalSize(SizeRootFs)})`,
      hidden: !size,
    },
    { heading: "STATE", field: "State", value: ({ State }) => State, hidden: true },
    {
      heading: "CREATED AT",
      field: "CreatedAt",
      value: ({ Created }) => goTime(Created * 1000),
      hidden: true,
    },
    {
      heading: "LABELS",
      field: "Labels",
      value: ({ Labels }) =>
        Object.entries(Labels)
          .map(([key, value]) => `${key}=${value}`)
          .join(","),
      hidden: true,
    },
    {
      heading: "",
      field: "Label",
      value: () => "",
      lookUp: ({ Labels }, name) => Labels[name] ?? "",
    },
    {
      heading: "LOCAL VOLUMES",
      field: "LocalVolumes",
      value: ({ Mounts }) => String(Mounts.filter(({ Name }) => Name !== undefined && Name !== "").length),
      hidden: true,
    },
    {
      heading: "MOUNTS",
      field: "Mounts",
      value: ({ Mounts }) =>
        Mounts.map(({ Name, Source }) => (Name === undefined || Name === "" ? Source : Name)).join(","),
      hidden: true,
    },
    {
      heading: "NETWORKS",
      field: "Networks",
      value: ({ NetworkSettings }) => Object.keys(NetworkSettings.Networks).join(","),
      hidden: true,
    },
  ];
}

/** "0.0.0.0:8080->80/tcp, 443/tcp", with runs of ports joined. */
export function portsText(ports: readonly Port[]): string {
  const sorted = [...ports].sort((a, b) => a.PrivatePort - b.PrivatePort || (a.PublicPort ?? 0) - (b.PublicPort ?? 0));
  const runs: {
    ip: string | undefined;
    type: string;
    from: number;
    to: number;
    publicFrom: number | undefined;
    publicTo: number | undefined;
  }[] = [];
  for (const { IP, PrivatePort, PublicPort, Type } of sorted) {
    const run = runs.find(
      (candidate) =>
        candidate.ip === IP &&
        candidate.type === Type &&
        candidate.to + 1 === PrivatePort &&
        (PublicPort === undefined
          ? candidate.publicTo === undefined
          : candidate.publicTo !== undefined && candidate.publicTo + 1 === PublicPort),
    );
    if (run === undefined)
      runs.push({
        ip: IP,
        type: Type,
        from: PrivatePort,
        to: PrivatePort,
        publicFrom: PublicPort,
        publicTo: PublicPort,
      });
    else {
      run.to = PrivatePort;
      run.publicTo = PublicPort;
    }
  }
  const range = (from: number, to: number) => (from === to ? `${from}` : `${from}-${to}`);
  return runs
    .map(({ ip, type, from, to, publicFrom, publicTo }) => {
      const inside = `${range(from, to)}/${type}`;
      const host = ip?.includes(":") === true ? `[${ip}]` : ip;
      return publicFrom === undefined || publicTo === undefined
        ? inside
        : `${host}:${range(publicFrom, publicTo)}->${inside}`;
    })
    .join(", ");
}

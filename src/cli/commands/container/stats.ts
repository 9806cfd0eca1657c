import { shortId } from "../../../base/ids.ts";
import { jsonValues } from "../../../client/json-lines.ts";
import { type CliContext, defineCommand, flag, text } from "../../command.ts";
import { type Column, printListing } from "../../render/listing.ts";
import { binarySize, decimalSize } from "../../render/units.ts";

interface Stats {
  readonly id: string;
  readonly name: string;
  readonly cpu_stats: Cpu;
  readonly precpu_stats: Cpu;
  readonly memory_stats: {
    readonly usage?: number;
    readonly limit?: number;
    readonly stats?: Readonly<Record<string, number>>;
  };
  readonly pids_stats: { readonly current?: number };
  readonly networks?: Readonly<Record<string, { readonly rx_bytes: number; readonly tx_bytes: number }>>;
  readonly blkio_stats: {
    readonly io_service_bytes_recursive?: readonly { readonly op: string; readonly value: number }[] | null;
  };
}

interface Cpu {
  readonly cpu_usage: { readonly total_usage: number };
  readonly system_cpu_usage?: number;
  readonly online_cpus?: number;
}

export const stats = defineCommand({
  arguments: "[CONTAINER...]",
  options: {
    all: flag("Also those that don't run", "a"),
    noStream: flag("Print once and end"),
    noTrunc: flag("Don't shorten"),
    format: text("TEMPLATE", "json, table, or a Go template"),
    json: flag("Same as --format json"),
  },
  async run(ctx, words, values) {
    const format = values.json ? "json" : values.format;
    const names = words.length > 0 ? words : await runningIds(ctx, values.all);
    if (values.noStream) {
      const read = await Promise.all(
        names.map((name) => ctx.client.call<Stats>("GET", `/containers/${name}/stats`, { query: { stream: false } })),
      );
      printListing(ctx, columns(values.noTrunc), read, format);
      return;
    }
    const latest = new Map<string, Stats>();
    const follow = async (name: string) => {
      const { body } = await ctx.client.stream("GET", `/containers/${name}/stats`, {
        query: { stream: true },
        signal: ctx.signal,
      });
      for await (const value of jsonValues(body)) latest.set(name, value as Stats);
    };
    const draw = () => {
      if (ctx.stdout.isTTY === true) ctx.stdout.write("\x1b[2J\x1b[H");
      printListing(
        ctx,
        columns(values.noTrunc),
        names.flatMap((name) => latest.get(name) ?? []),
        format,
      );
    };
    const timer = setInterval(draw, 1000);
    try {
      await Promise.all(names.map(follow));
    } finally {
      clearInterval(timer);
    }
  },
});

async function runningIds(ctx: CliContext, all: boolean): Promise<readonly string[]> {
  return (await ctx.client.call<readonly { Id: string }[]>("GET", "/containers/json", { query: { all } })).map(
    ({ Id }) => Id,
  );
}

function columns(full: boolean): readonly Column<Stats>[] {
  const used = ({ memory_stats }: Stats) =>
    Math.max(
      0,
      (memory_stats.usage ?? 0) -
        (memory_stats.stats?.["total_inactive_file"] ?? memory_stats.stats?.["inactive_file"] ?? 0),
    );
  const network = (row: Stats, way: "rx_bytes" | "tx_bytes") =>
    Object.values(row.networks ?? {}).reduce((sum, counters) => sum + counters[way], 0);
  const block = (row: Stats, op: string) =>
    (row.blkio_stats.io_service_bytes_recursive ?? [])
      .filter((entry) => entry.op.toLowerCase() === op)
      .reduce((sum, { value }) => sum + value, 0);
  return [
    { heading: "CONTAINER ID", field: "ID", value: ({ id }) => (full ? id : shortId(id)) },
    { heading: "NAME", field: "Name", value: ({ name }) => name.replace(/^\//, "") },
    { heading: "CPU %", field: "CPUPerc", value: (row) => `${cpuPercent(row).toFixed(2)}%` },
    {
      heading: "MEM USAGE / LIMIT",
      field: "MemUsage",
      value: (row) => `${binarySize(used(row))} / ${binarySize(row.memory_stats.limit ?? 0)}`,
    },
    {
      heading: "MEM %",
      field: "MemPerc",
      value: (row) => `${((used(row) / (row.memory_stats.limit || 1)) * 100).toFixed(2)}%`,
    },
    {
      heading: "NET I/O",
      field: "NetIO",
      value: (row) => `${decimalSize(network(row, "rx_bytes"))} / ${decimalSize(network(row, "tx_bytes"))}`,
    },
    {
      heading: "BLOCK I/O",
      field: "BlockIO",
      value: (row) => `${decimalSize(block(row, "read"))} / ${decimalSize(block(row, "write"))}`,
    },
    { heading: "PIDS", field: "PIDs", value: ({ pids_stats }) => `${pids_stats.current ?? 0}` },
  ];
}

function cpuPercent({ cpu_stats, precpu_stats }: Stats): number {
  const used = cpu_stats.cpu_usage.total_usage - precpu_stats.cpu_usage.total_usage;
  const passed = (cpu_stats.system_cpu_usage ?? 0) - (precpu_stats.system_cpu_usage ?? 0);
  return used > 0 && passed > 0 ? (used / passed) * (cpu_stats.online_cpus ?? 1) * 100 : 0;
}

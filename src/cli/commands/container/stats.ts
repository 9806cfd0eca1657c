import { setTimeout as delay } from "node:timers/promises";
import { shortId } from "../../../base/ids.ts";
import { jsonValues } from "../../../client/json-lines.ts";
import type { UsageLine, UsageReport } from "../../../schema/usage.ts";
import { type CliContext, defineCommand, flag, integer, text } from "../../command.ts";
import { type Column, printListing } from "../../render/listing.ts";
import { binarySize, decimalSize } from "../../render/units.ts";

/** Of the processors, between two readings. */
interface Row extends UsageLine {
  readonly cpuPercent: number;
}

export const stats = defineCommand({
  arguments: "[CONTAINER...]",
  options: {
    all: flag("Also those that don't run", "a"),
    interval: integer("SECONDS", "From one reading to the next (default 1)", "i"),
    noStream: flag("Print once and end"),
    noTrunc: flag("Don't shorten"),
    format: text("TEMPLATE", "json, table, or a Go template"),
    json: flag("Same as --format json"),
  },
  async run(ctx, words, values) {
    const format = values.json ? "json" : values.format;
    const intervalMs = (values.interval ?? 1) * 1000;
    const idle = values.all && words.length === 0 ? await stopped(ctx) : [];
    const show = (now: UsageReport, before: UsageReport | undefined) => {
      if (ctx.stdout.isTTY === true && !values.noStream) ctx.stdout.write("\x1b[2J\x1b[H");
      printListing(ctx, columns(values.noTrunc), [...rows(now, before), ...idle], format);
    };
    if (values.noStream) {
      const before = await read(ctx, words);
      await delay(intervalMs, undefined, { signal: ctx.signal });
      show(await read(ctx, words), before);
      return;
    }
    const query = { name: words, intervalMs };
    const { body } = await ctx.client.stream("GET", "/berth/v1/usage", { query, signal: ctx.signal });
    let before: UsageReport | undefined;
    for await (const value of jsonValues(body)) {
      const now = value as UsageReport;
      // The first reading says nothing of the processors yet.
      if (before !== undefined) show(now, before);
      before = now;
    }
  },
});

async function read(ctx: CliContext, names: readonly string[]): Promise<UsageReport> {
  return await ctx.client.call<UsageReport>("GET", "/berth/v1/usage", { query: { name: names, stream: false } });
}

function rows(now: UsageReport, before: UsageReport | undefined): readonly Row[] {
  const known = new Map(before?.instances.map((line) => [line.id, line.cpuNs]));
  const passedNs = now.atNs - (before?.atNs ?? now.atNs);
  return now.instances.map((line) => {
    // Its counter begins anew with each run.
    const usedNs = Math.max(0, line.cpuNs - (known.get(line.id) ?? line.cpuNs));
    return { ...line, cpuPercent: passedNs === 0 ? 0 : (usedNs / passedNs) * 100 };
  });
}

async function stopped(ctx: CliContext): Promise<readonly Row[]> {
  interface Listed {
    readonly Id: string;
    readonly Names: readonly string[];
    readonly State: string;
  }
  const listed = await ctx.client.call<readonly Listed[]>("GET", "/containers/json", { query: { all: true } });
  return listed
    .filter(({ State }) => State !== "running" && State !== "paused")
    .map(({ Id, Names }) => ({ ...nothing, id: Id, name: (Names[0] ?? "").replace(/^\//, "") }));
}

const nothing = {
  cpuNs: 0,
  cpuPercent: 0,
  memoryBytes: 0,
  memoryLimitBytes: 0,
  pids: 0,
  readBytes: 0,
  writtenBytes: 0,
  receivedBytes: 0,
  sentBytes: 0,
};

function columns(full: boolean): readonly Column<Row>[] {
  return [
    { heading: "CONTAINER ID", field: "ID", value: ({ id }) => (full ? id : shortId(id)) },
    { heading: "NAME", field: "Name", value: ({ name }) => name },
    { heading: "CPU %", field: "CPUPerc", value: ({ cpuPercent }) => `${cpuPercent.toFixed(2)}%` },
    {
      heading: "MEM USAGE / LIMIT",
      field: "MemUsage",
      value: ({ memoryBytes, memoryLimitBytes }) => `${binarySize(memoryBytes)} / ${binarySize(memoryLimitBytes)}`,
    },
    {
      heading: "MEM %",
      field: "MemPerc",
      value: ({ memoryBytes, memoryLimitBytes }) => `${((memoryBytes / (memoryLimitBytes || 1)) * 100).toFixed(2)}%`,
    },
    {
      heading: "NET I/O",
      field: "NetIO",
      value: ({ receivedBytes, sentBytes }) => `${decimalSize(receivedBytes)} / ${decimalSize(sentBytes)}`,
    },
    {
      heading: "BLOCK I/O",
      field: "BlockIO",
      value: ({ readBytes, writtenBytes }) => `${decimalSize(readBytes)} / ${decimalSize(writtenBytes)}`,
    },
    { heading: "PIDS", field: "PIDs", value: ({ pids }) => `${pids}` },
  ];
}

/** Looking at containers: logs, processes, changes, ports. */
import type { Readable } from "node:stream";
import { defineCommand, flag, text } from "../../command.ts";
import { type Frame, FrameDecoder } from "../../../client/output-frames.ts";
import { cliErrors } from "../../errors.ts";
import { renderTable } from "../../render/table.ts";

export const logs = defineCommand({
  arguments: "CONTAINER",
  options: {
    follow: flag("Go on as more is written", "f"),
    timestamps: flag("Show times", "t"),
    details: flag("Show extra attributes"),
    since: text("TIME", "From this time on: a timestamp or 10m"),
    until: text("TIME", "Up to this time"),
    tail: text("N", "Only the last N lines", "n"),
  },
  async run(ctx, [name = ""], values) {
    const { Config } = await ctx.client.call<{ Config: { Tty: boolean } }>("GET", `/containers/${name}/json`);
    const query = {
      stdout: true,
      stderr: true,
      follow: values.follow,
      timestamps: values.timestamps,
      details: values.details || undefined,
      since: timestamp(values.since, "since", ctx.now()),
      until: timestamp(values.until, "until", ctx.now()),
      tail: values.tail,
    };
    const { body } = await ctx.client.stream("GET", `/containers/${name}/logs`, { query, signal: ctx.signal });
    await printLog(ctx, body, Config.Tty);
  },
});

async function printLog(
  ctx: { readonly stdout: NodeJS.WritableStream; readonly stderr: NodeJS.WritableStream },
  body: Readable,
  tty: boolean,
): Promise<void> {
  if (tty) {
    for await (const chunk of body) ctx.stdout.write(chunk as Buffer);
    return;
  }
  for await (const frame of body.pipe(new FrameDecoder())) {
    const { stream, data } = frame as Frame;
    const target = stream === "stderr" ? ctx.stderr : ctx.stdout;
    if (!target.write(data)) await new Promise<void>((resolve) => void target.once("drain", resolve));
  }
}

/** "10m" (ago), seconds, or a date -> seconds since the epoch. */
export function timestamp(text: string | undefined, option: string, now: number): string | undefined {
  if (text === undefined || /^\d+(\.\d+)?$/.test(text)) return text;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length > 0 && parts.map(([part]) => part).join("") === text) {
    const factors: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 };
    const ago = parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (factors[unit ?? ""] ?? 0), 0);
    return (now / 1000 - ago).toFixed(3);
  }
  const date = Date.parse(text);
  if (Number.isNaN(date))
    throw cliErrors.OPTION_INVALID({
      option,
      value: text,
      reason: "a date (2026-01-31T10:00:00Z), seconds, or a duration such as 10m is needed",
    });
  return (date / 1000).toFixed(3);
}

export const top = defineCommand({
  arguments: "CONTAINER [ps OPTIONS...]",
  options: {},
  passThrough: true,
  async run(ctx, [name, ...psArguments]) {
    const query = { ps_args: psArguments.length > 0 ? psArguments.join(" ") : undefined };
    const { Titles, Processes } = await ctx.client.call<{ Titles: string[]; Processes: string[][] }>(
      "GET",
      `/containers/${name}/top`,
      { query },
    );
    ctx.stdout.write(renderTable(Titles, Processes, { minimum: 20 }));
  },
});

export const diff = defineCommand({
  arguments: "CONTAINER",
  options: {},
  async run(ctx, [name]) {
    const changes = await ctx.client.call<readonly { Kind: number; Path: string }[] | null>(
      "GET",
      `/containers/${name}/changes`,
    );
    for (const { Kind, Path } of changes ?? []) ctx.stdout.write(`${"CAD"[Kind]} ${Path}\n`);
  },
});

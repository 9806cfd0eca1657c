/** The engine as a whole. */
import { jsonValues } from "../../client/json-lines.ts";
import { apiVersion } from "../../client/engine-client.ts";
import { isBerthError } from "../../base/errors.ts";
import { defineCommand, flag, list, text } from "../command.ts";
import { filtersQuery } from "../render/filters.ts";
import { printObject } from "../render/listing.ts";
import { binarySize, decimalSize } from "../render/units.ts";
import { confirm } from "../terminal/confirm.ts";
import { berthVersion } from "../../base/version.ts";
import { timestamp } from "./container/observe.ts";

interface Info {
  readonly Name: string;
  readonly ServerVersion: string;
  readonly Containers: number;
  readonly ContainersRunning: number;
  readonly ContainersPaused: number;
  readonly ContainersStopped: number;
  readonly Images: number;
  readonly Driver: string;
  readonly CgroupVersion: string;
  readonly DefaultRuntime: string;
  readonly KernelVersion: string;
  readonly OperatingSystem: string;
  readonly Architecture: string;
  readonly NCPU: number;
  readonly MemTotal: number;
  readonly DockerRootDir: string;
  readonly SecurityOptions: readonly string[] | null;
  readonly Warnings: readonly string[] | null;
}

export const info = defineCommand({
  arguments: "",
  options: { format: text("TEMPLATE", "json, or a Go template", "f"), json: flag("Same as --format json") },
  async run(ctx, _words, { format, json }) {
    const engine = await ctx.client.call<Info>("GET", "/info");
    if (format !== undefined || json) {
      printObject(ctx, engine, json ? "json" : format);
      return;
    }
    const own = await berthInfo();
    const rows: [string, string][] = [
      ["Engine", `${ctx.client.host}, version ${engine.ServerVersion}`],
      [
        "Containers",
        `${engine.Containers} (${engine.ContainersRunning} running, ${engine.ContainersPaused} paused, ${engine.ContainersStopped} stopped)`,
      ],
      ["Images", String(engine.Images)],
      ["Storage driver", engine.Driver],
      ["OCI runtime", own?.runtime ?? engine.DefaultRuntime],
      ...(own?.machines === undefined ? [] : [["Virtual machines", own.machines] satisfies [string, string]]),
      ["Control groups", own?.cgroupMode ?? `v${engine.CgroupVersion}`],
      ["Security options", (engine.SecurityOptions ?? []).join(", ")],
      ["Kernel", engine.KernelVersion],
      ["Operating system", `${engine.OperatingSystem}, ${engine.Architecture}`],
      ["CPUs", String(engine.NCPU)],
      ["Memory", binarySize(engine.MemTotal)],
      ["Data root", engine.DockerRootDir],
    ];
    for (const [label, value] of rows) ctx.stdout.write(`${`${label}:`.padEnd(19)}${value}\n`);
    for (const warning of engine.Warnings ?? []) ctx.stderr.write(`${warning}\n`);

    async function berthInfo(): Promise<
      { readonly runtime?: string; readonly machines?: string; readonly cgroupMode?: string } | undefined
    > {
      try {
        const berth = await ctx.client.call<{
          runtime?: { runtime?: string; versions?: Record<string, string>; reasons?: string[] };
          machines?: { available: boolean; runtime: string; reasons: string[] };
          machinePool?: { size: number; waiting: number };
          cgroupMode?: string;
        }>("GET", "/berth/info");
        const { runtime = "", versions = {}, reasons = [] } = berth.runtime ?? {};
        const monitor = versions["conmon"] === undefined ? "" : `, conmon ${versions["conmon"]}`;
        const why = reasons.length > 0 ? ` (${reasons.join("; ")})` : "";
        return {
          runtime: `${runtime} ${versions[runtime] ?? ""}${monitor}${why}`,
          ...(berth.machines && { machines: machinesText(berth.machines) + poolText(berth.machinePool) }),
          ...(berth.cgroupMode && { cgroupMode: berth.cgroupMode }),
        };
      } catch (error) {
        // Another engine than Berth has no such route.
        if (isBerthError(error)) return undefined;
        throw error;
      }
    }
  },
});

function machinesText(machines: {
  readonly available: boolean;
  readonly runtime: string;
  readonly reasons: readonly string[];
}): string {
  if (!machines.available) return `not available (${machines.reasons.join("; ")})`;
  return machines.runtime === "kvm" ? "KVM" : machines.reasons.join("; ");
}

function poolText(pool: { readonly size: number; readonly waiting: number } | undefined): string {
  return pool === undefined || pool.size === 0 ? "" : `; ${pool.waiting} waiting, ${pool.size} of each template in use`;
}

interface EngineVersion {
  readonly Version: string;
  readonly ApiVersion: string;
  readonly MinAPIVersion: string;
  readonly Os: string;
  readonly Arch: string;
  readonly KernelVersion: string;
  readonly Components?: readonly { readonly Name: string; readonly Version: string }[];
}

export const version = defineCommand({
  arguments: "",
  options: { format: text("TEMPLATE", "json, or a Go template", "f"), json: flag("Same as --format json") },
  async run(ctx, _words, { format, json }) {
    const Client = {
      Version: berthVersion(),
      ApiVersion: apiVersion,
      NodeVersion: process.version,
      Os: process.platform,
      Arch: process.arch,
    };
    const Server = await ctx.client.call<EngineVersion>("GET", "/version");
    if (format !== undefined || json) {
      // Templates know the field by its name in docker's code, JSON by that of the API.
      const named = <T extends { readonly ApiVersion: string }>(of: T) => ({ ...of, APIVersion: of.ApiVersion });
      if (json || format === "json") printObject(ctx, { Client, Server }, "json");
      else printObject(ctx, { Client: named(Client), Server: named(Server) }, format);
      return;
    }
    ctx.stdout.write(
      `Client:\n Version:      ${Client.Version}\n API version:  ${Client.ApiVersion}\n Node.js:      ${Client.NodeVersion}\n\n`,
    );
    ctx.stdout.write(
      `Engine:\n Version:      ${Server.Version}\n API version:  ${Server.ApiVersion} (minimum ${Server.MinAPIVersion})\n OS/Arch:      ${Server.Os}/${Server.Arch}\n Kernel:       ${Server.KernelVersion}\n`,
    );
    for (const { Name, Version } of Server.Components ?? []) ctx.stdout.write(` ${`${Name}:`.padEnd(14)}${Version}\n`);
  },
});

interface Event {
  readonly Type: string;
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> | null };
  readonly timeNano: number;
}

export const events = defineCommand({
  arguments: "",
  options: {
    since: text("TIME", "From this time on"),
    until: text("TIME", "Up to this time"),
    filter: list("NAME=VALUE", "type, event, container, image, label, …", "f"),
    format: text("TEMPLATE", "json, or a Go template"),
    json: flag("Same as --format json"),
  },
  async run(ctx, _words, values) {
    const query = {
      since: timestamp(values.since, "since", ctx.now()),
      until: timestamp(values.until, "until", ctx.now()),
      filters: filtersQuery(values.filter),
    };
    const { body } = await ctx.client.stream("GET", "/events", { query, signal: ctx.signal });
    for await (const value of jsonValues(body)) {
      const event = value as Event;
      if (values.json || values.format !== undefined) {
        printObject(ctx, event, values.json ? "json" : values.format);
        continue;
      }
      const attributes = Object.entries(event.Actor.Attributes ?? {}).map(([key, text]) => `${key}=${text}`);
      ctx.stdout.write(
        `${new Date(event.timeNano / 1e6).toISOString()} ${event.Type} ${event.Action} ${event.Actor.ID} (${attributes.join(", ")})\n`,
      );
    }
  },
});

export const prune = defineCommand({
  arguments: "",
  options: {
    all: flag("Every unused image, not only dangling ones", "a"),
    force: flag("Don't ask", "f"),
    volumes: flag("Anonymous volumes too"),
    filter: list("NAME=VALUE", "until, label"),
  },
  async run(ctx, _words, { all, force, volumes, filter }) {
    const what = [
      "all stopped containers",
      "all networks not used by at least one container",
      all ? "all images without a container" : "all dangling images",
      "unused build cache",
      ...(volumes ? ["all anonymous volumes not used by at least one container"] : []),
    ];
    if (!force && !(await confirm(ctx, `This will remove:\n${what.map((line) => `  - ${line}\n`).join("")}`))) return;
    let reclaimed = 0;
    const step = async (path: string, title: string, key: string, extra: readonly string[] = []) => {
      const answer = await ctx.client.call<Record<string, unknown>>("POST", path, {
        query: { filters: filtersQuery([...filter, ...extra]), all: path === "/build/prune" ? all : undefined },
      });
      const deleted = Array.isArray(answer[key]) ? answer[key] : [];
      reclaimed += Number(answer["SpaceReclaimed"] ?? 0);
      if (deleted.length === 0) return;
      const names = deleted.map((item: unknown) =>
        typeof item === "string"
          ? item
          : Object.entries(item as object)
              .map(([word, name]) => `${word.toLowerCase()}: ${String(name)}`)
              .join(""),
      );
      ctx.stdout.write(`Deleted ${title}:\n${names.join("\n")}\n\n`);
    };
    await step("/containers/prune", "Containers", "ContainersDeleted");
    await step("/networks/prune", "Networks", "NetworksDeleted");
    if (volumes) await step("/volumes/prune", "Volumes", "VolumesDeleted");
    await step("/images/prune", "Images", "ImagesDeleted", [`dangling=${all ? "false" : "true"}`]);
    await step("/build/prune", "build cache objects", "CachesDeleted");
    ctx.stdout.write(`Total reclaimed space: ${decimalSize(reclaimed)}\n`);
  },
});

export const builderPrune = defineCommand({
  arguments: "",
  options: { all: flag("All of it", "a"), force: flag("Don't ask", "f"), filter: list("NAME=VALUE", "until") },
  async run(ctx, _words, { all, force, filter }) {
    if (!force && !(await confirm(ctx, `This will remove ${all ? "all" : "dangling"} build cache.`))) return;
    const { SpaceReclaimed } = await ctx.client.call<{ SpaceReclaimed: number }>("POST", "/build/prune", {
      query: { all, filters: filtersQuery(filter) },
    });
    ctx.stdout.write(`Total reclaimed space: ${decimalSize(SpaceReclaimed)}\n`);
  },
});

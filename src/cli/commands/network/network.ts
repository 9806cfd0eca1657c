import { shortId } from "../../../base/ids.ts";
import { defineCommand, flag, integer, list as listOption, text } from "../../command.ts";
import { forEachWord } from "../../each.ts";
import { filtersQuery } from "../../render/filters.ts";
import { type Column, printListing } from "../../render/listing.ts";
import { goTime } from "../../render/units.ts";
import { confirm } from "../../terminal/confirm.ts";
import { pairs } from "../container/create-body.ts";
import { cliErrors } from "../../errors.ts";
import { ipamPools } from "./ipam-pools.ts";

interface Network {
  readonly Id: string;
  readonly Name: string;
  readonly Driver: string;
  readonly Scope: string;
  readonly Internal: boolean;
  readonly EnableIPv4?: boolean;
  readonly EnableIPv6: boolean;
  readonly Created: string;
  readonly Labels: Readonly<Record<string, string>> | null;
}

export const list = defineCommand({
  arguments: "",
  options: {
    quiet: flag("Only ids", "q"),
    noTrunc: flag("Don't shorten"),
    filter: listOption("NAME=VALUE", "driver, id, label, name, scope, type, dangling", "f"),
    format: text("TEMPLATE", "json, table, or a Go template"),
    json: flag("Same as --format json"),
  },
  async run(ctx, _words, { quiet, noTrunc, filter, format, json }) {
    const networks = [
      ...(await ctx.client.call<readonly Network[]>("GET", "/networks", { query: { filters: filtersQuery(filter) } })),
    ].sort((a, b) => (a.Name < b.Name ? -1 : 1));
    const id = ({ Id }: Network) => (noTrunc ? Id : shortId(Id));
    if (quiet) {
      for (const network of networks) ctx.stdout.write(`${id(network)}\n`);
      return;
    }
    const columns: readonly Column<Network>[] = [
      { heading: "NETWORK ID", field: "ID", value: id },
      { heading: "NAME", field: "Name", value: ({ Name }) => Name },
      { heading: "DRIVER", field: "Driver", value: ({ Driver }) => Driver },
      { heading: "SCOPE", field: "Scope", value: ({ Scope }) => Scope },
      { heading: "INTERNAL", field: "Internal", value: ({ Internal }) => String(Internal), hidden: true },
      { heading: "IPV6", field: "IPv6", value: ({ EnableIPv6 }) => String(EnableIPv6), hidden: true },
      { heading: "CREATED AT", field: "CreatedAt", value: ({ Created }) => goTime(Date.parse(Created)), hidden: true },
      { heading: "IPV4", field: "IPv4", value: ({ EnableIPv4 }) => String(EnableIPv4 ?? true), hidden: true },
      { heading: "", field: "Label", value: () => "", lookUp: ({ Labels }, label) => Labels?.[label] ?? "" },
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
    printListing(ctx, columns, networks, json ? "json" : format);
  },
});

export const create = defineCommand({
  arguments: "NETWORK",
  options: {
    driver: text("DRIVER", "bridge (default)", "d"),
    subnet: listOption("CIDR", "Subnet"),
    gateway: listOption("ADDRESS", "Gateway of the subnet"),
    ipRange: listOption("CIDR", "Only give out addresses of this range"),
    auxAddress: listOption("NAME=ADDRESS", "Never give out this address"),
    internal: flag("No way out of the network"),
    attachable: flag("Allow connecting by hand"),
    ipv4: text("YES", "Enable IPv4 (default true)"),
    ipv6: flag("Enable IPv6"),
    ipamDriver: text("DRIVER", "IPAM driver (only default)"),
    ipamOpt: listOption("KEY=VALUE", "IPAM driver option"),
    scope: text("SCOPE", "Scope of the network (only local)"),
    opt: listOption("KEY=VALUE", "Driver option", "o"),
    label: listOption("KEY=VALUE", "Set a label"),
  },
  async run(ctx, [name], values) {
    const body = {
      Name: name,
      Driver: values.driver ?? "bridge",
      Internal: values.internal,
      Attachable: values.attachable,
      EnableIPv6: values.ipv6,
      ...(values.ipv4 === undefined ? {} : { EnableIPv4: yes("ipv4", values.ipv4) }),
      ...(values.scope === undefined ? {} : { Scope: values.scope }),
      IPAM: {
        Driver: values.ipamDriver ?? "default",
        ...(values.ipamOpt.length === 0 ? {} : { Options: pairs(values.ipamOpt, "ipam-opt") }),
        Config: ipamPools(values),
      },
      Options: pairs(values.opt, "opt"),
      Labels: pairs(values.label, "label"),
    };
    const { Id, Warning } = await ctx.client.call<{ Id: string; Warning?: string }>("POST", "/networks/create", {
      body,
    });
    if (Warning !== undefined && Warning !== "") ctx.stderr.write(`WARNING: ${Warning}\n`);
    ctx.stdout.write(`${Id}\n`);
  },
});

function yes(option: string, value: string): boolean {
  if (["1", "t", "true"].includes(value.toLowerCase())) return true;
  if (["0", "f", "false"].includes(value.toLowerCase())) return false;
  throw cliErrors.OPTION_INVALID({ option, value, reason: "true or false is needed" });
}

export const remove = defineCommand({
  arguments: "NETWORK [NETWORK...]",
  options: { force: flag("No error when it does not exist", "f") },
  run: (ctx, words, { force }) =>
    forEachWord(ctx, words, (name) =>
      ctx.client.call("DELETE", `/networks/${name}`, { query: force ? { force } : {} }),
    ),
});

export const connect = defineCommand({
  arguments: "NETWORK CONTAINER",
  options: {
    alias: listOption("NAME", "Further DNS name"),
    ip: text("ADDRESS", "IPv4 address"),
    ip6: text("ADDRESS", "IPv6 address"),
    link: listOption("CONTAINER:ALIAS", "Add a link to another container"),
    driverOpt: listOption("KEY=VALUE", "Driver option"),
    gwPriority: integer("N", "The network of the highest gives the default route"),
  },
  async run(ctx, [name, container], values) {
    const EndpointConfig = {
      Aliases: values.alias,
      Links: values.link,
      DriverOpts: pairs(values.driverOpt, "driver-opt"),
      ...(values.gwPriority === undefined ? {} : { GwPriority: values.gwPriority }),
      IPAMConfig: {
        ...(values.ip === undefined ? {} : { IPv4Address: values.ip }),
        ...(values.ip6 === undefined ? {} : { IPv6Address: values.ip6 }),
      },
    };
    await ctx.client.call("POST", `/networks/${name}/connect`, { body: { Container: container, EndpointConfig } });
  },
});

export const disconnect = defineCommand({
  arguments: "NETWORK CONTAINER",
  options: { force: flag("Also when the container is gone", "f") },
  async run(ctx, [name, container], { force }) {
    await ctx.client.call("POST", `/networks/${name}/disconnect`, { body: { Container: container, Force: force } });
  },
});

export const prune = defineCommand({
  arguments: "",
  options: { force: flag("Don't ask", "f"), filter: listOption("NAME=VALUE", "until, label") },
  async run(ctx, _words, { force, filter }) {
    if (!force && !(await confirm(ctx, "This will remove all custom networks not used by at least one container.")))
      return;
    const { NetworksDeleted } = await ctx.client.call<{ NetworksDeleted: readonly string[] | null }>(
      "POST",
      "/networks/prune",
      { query: { filters: filtersQuery(filter) } },
    );
    if ((NetworksDeleted ?? []).length > 0)
      ctx.stdout.write(`Deleted Networks:\n${(NetworksDeleted ?? []).join("\n")}\n`);
  },
});

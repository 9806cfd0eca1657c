import { shortId } from "../../../base/ids.ts";
import { defineCommand, flag, list as listOption, text } from "../../command.ts";
import { forEachWord } from "../../each.ts";
import { filtersQuery } from "../../render/filters.ts";
import { type Column, printListing } from "../../render/listing.ts";
import { confirm } from "../../terminal/confirm.ts";
import { pairs } from "../container/create-body.ts";

interface Network {
  readonly Id: string;
  readonly Name: string;
  readonly Driver: string;
  readonly Scope: string;
  readonly Internal: boolean;
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
      { heading: "CREATED AT", field: "CreatedAt", value: ({ Created }) => Created, hidden: true },
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
    ipv6: flag("Enable IPv6"),
    opt: listOption("KEY=VALUE", "Driver option", "o"),
    label: listOption("KEY=VALUE", "Set a label"),
  },
  async run(ctx, [name], values) {
    const config = values.subnet.map((subnet, index) => ({
      Subnet: subnet,
      ...(values.gateway[index] === undefined ? {} : { Gateway: values.gateway[index] }),
      ...(values.ipRange[index] === undefined ? {} : { IPRange: values.ipRange[index] }),
      ...(index === 0 && values.auxAddress.length > 0
        ? { AuxiliaryAddresses: pairs(values.auxAddress, "aux-address") }
        : {}),
    }));
    const body = {
      Name: name,
      Driver: values.driver ?? "bridge",
      Internal: values.internal,
      Attachable: values.attachable,
      EnableIPv6: values.ipv6,
      IPAM: { Driver: "default", Config: config },
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
  },
  async run(ctx, [name, container], values) {
    const EndpointConfig = {
      Aliases: values.alias,
      Links: values.link,
      DriverOpts: pairs(values.driverOpt, "driver-opt"),
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

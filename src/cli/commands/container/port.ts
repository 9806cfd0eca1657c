import type { PublishedPort } from "../../../schema/network.ts";
import { type CliContext, defineCommand } from "../../command.ts";
import { cliErrors } from "../../errors.ts";
import { portSpecs } from "./parse-ports.ts";

type Bindings = readonly { readonly HostIp: string; readonly HostPort: string }[];

export const show = defineCommand({
  arguments: "CONTAINER [PORT[/PROTOCOL]]",
  options: {},
  async run(ctx, [name = "", wanted]) {
    const ports = await portsOf(ctx, name);
    const key = wanted === undefined || wanted.includes("/") ? wanted : `${wanted}/tcp`;
    if (key === undefined) {
      for (const [inside, bindings] of Object.entries(ports))
        for (const { HostIp, HostPort } of bindings ?? [])
          ctx.stdout.write(`${inside} -> ${address(HostIp, HostPort)}\n`);
      return;
    }
    const bindings = ports[key] ?? [];
    if (bindings.length === 0) throw cliErrors.PORT_NOT_PUBLISHED({ port: wanted ?? "", container: name });
    for (const { HostIp, HostPort } of bindings) ctx.stdout.write(`${address(HostIp, HostPort)}\n`);
  },
});

export const add = defineCommand({
  arguments: "CONTAINER [[IP:]HOSTPORT:]PORT[/PROTOCOL]...",
  options: {},
  help: "At once when it runs, without a restart; else at its next start. Prints what is published then.",
  async run(ctx, [name = "", ...words]) {
    const body = { ports: portSpecs(words) };
    print(ctx, await ctx.client.call<Published>("POST", `/berth/v1/containers/${name}/ports`, { body }));
  },
});

export const remove = defineCommand({
  arguments: "CONTAINER [[IP:]HOSTPORT:]PORT[/PROTOCOL]...",
  options: {},
  help: "PORT alone means wherever it is published. Connections that were made through it live on.",
  async run(ctx, [name = "", ...words]) {
    let left: Published = { ports: [] };
    for (const { containerPort, protocol, hostIp, hostPort } of portSpecs(words)) {
      const query = {
        containerPort: String(containerPort),
        protocol,
        ...(hostIp === "" ? {} : { hostIp }),
        ...(hostPort === 0 ? {} : { hostPort: String(hostPort) }),
      };
      left = await ctx.client.call<Published>("DELETE", `/berth/v1/containers/${name}/ports`, { query });
    }
    print(ctx, left);
  },
});

interface Published {
  readonly ports: readonly PublishedPort[];
}

function print(ctx: CliContext, { ports }: Published): void {
  for (const { containerPort, protocol, hostIp, hostPort } of ports)
    ctx.stdout.write(`${containerPort}/${protocol} -> ${address(hostIp, String(hostPort))}\n`);
}

async function portsOf(ctx: CliContext, name: string): Promise<Readonly<Record<string, Bindings | null>>> {
  interface Inspected {
    readonly NetworkSettings: { readonly Ports: Readonly<Record<string, Bindings | null>> };
  }
  return (await ctx.client.call<Inspected>("GET", `/containers/${name}/json`)).NetworkSettings.Ports;
}

function address(ip: string, port: string): string {
  return `${ip.includes(":") ? `[${ip}]` : ip}:${port}`;
}

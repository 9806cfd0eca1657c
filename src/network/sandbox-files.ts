/** The files that are bound over an instance's /etc/resolv.conf, /etc/hosts and /etc/hostname. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { makeSmallDirectory, removeSmallDirectory, writeSmallFile } from "../host/files.ts";
import type { SandboxRequest } from "./network-service.ts";
import { addressOf } from "./address-book.ts";
import { gatewayOf } from "./bridge-plan.ts";
import { type HostsEntry, parseExtraHosts, renderHostModeHosts, renderHosts } from "./hosts-file.ts";
import type { NetworkConfig } from "./network-definition.ts";
import type { NetworkPaths } from "./network-paths.ts";
import {
  bridgeResolvConf,
  type DnsSettings,
  type HostResolvConf,
  hostResolvConf,
  networkResolvConf,
  renderResolvConf,
  type ResolvConf,
} from "./resolv-conf.ts";
import { ownResolverAddress, type ResolverPlan } from "./resolver-plan.ts";
import type { Attachment } from "./sandbox-plan.ts";

export interface SandboxView {
  readonly request: SandboxRequest;
  readonly attachments: readonly Attachment[];
  readonly resolver: ResolverPlan;
  readonly host: HostResolvConf;
  /** Names of linked instances with their addresses now. */
  readonly links: readonly HostsEntry[];
  /** What "host-gateway" stands for. */
  readonly hostGateway: string;
}

export interface SandboxFilePaths {
  readonly resolvConfPath: string;
  readonly hostsPath: string;
  readonly hostnamePath: string;
}

export function sandboxFilePaths(paths: NetworkPaths, instanceId: string): SandboxFilePaths {
  const directory = paths.sandbox(instanceId);
  return {
    resolvConfPath: join(directory, "resolv.conf"),
    hostsPath: join(directory, "hosts"),
    hostnamePath: join(directory, "hostname"),
  };
}

/** Writes all three. In place, not by renaming: a running instance has the files themselves bound. */
export async function writeSandboxFiles(paths: NetworkPaths, view: SandboxView, config: NetworkConfig): Promise<void> {
  const { request } = view;
  const files = sandboxFilePaths(paths, request.instanceId);
  await makeSmallDirectory(paths.sandbox(request.instanceId), 0o711);
  await writeSmallFile(files.resolvConfPath, renderResolvConf(resolvConfOf(view, config)), { mode: 0o644 });
  await writeSmallFile(files.hostsPath, await hostsOf(view), { mode: 0o644 });
  await writeSmallFile(files.hostnamePath, `${request.hostname}\n`, { mode: 0o644 });
}

export async function removeSandboxFiles(paths: NetworkPaths, instanceId: string): Promise<void> {
  await removeSmallDirectory(paths.sandbox(instanceId));
}

/** The instance's own settings, else the engine's. */
export function dnsSettings(request: SandboxRequest, config: NetworkConfig): DnsSettings {
  return {
    dns: request.dns.length > 0 ? request.dns : config.dns,
    dnsSearch: request.dnsSearch.length > 0 ? request.dnsSearch : config.dnsSearch,
    dnsOptions: request.dnsOptions,
  };
}

function resolvConfOf(view: SandboxView, config: NetworkConfig): ResolvConf {
  const settings = dnsSettings(view.request, config);
  if (view.request.mode === "host") return hostResolvConf(view.host, settings);
  switch (view.resolver.kind) {
    case "direct":
      return bridgeResolvConf(view.host, settings);
    case "network": {
      const { network } = view.resolver;
      const servers = [gatewayOf(network, 4), gatewayOf(network, 6)].filter((address) => address !== "");
      return networkResolvConf(view.host, settings, servers);
    }
    case "own":
      return networkResolvConf(view.host, settings, [ownResolverAddress]);
  }
}

async function hostsOf(view: SandboxView): Promise<string> {
  const { request } = view;
  const extra = [...parseExtraHosts(request.extraHosts, view.hostGateway), ...view.links];
  if (request.mode === "host") return renderHostModeHosts(await readOrEmpty("/etc/hosts"), extra);
  return renderHosts({
    hostname: request.hostname,
    domainname: request.domainname,
    own: view.attachments.flatMap(({ endpoint }) =>
      [endpoint.ipv4Cidr, endpoint.ipv6Cidr ?? ""].filter((cidr) => cidr !== "").map(addressOf),
    ),
    extra,
  });
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    // A host without the file: the usual first lines stand in.
    return "";
  }
}

/**
 * Instances' places on the networks.
 *
 * INVARIANTS
 *  - A sandbox's record is in the store before its first effect and until after its last is undone (without waiting for the
 *    disk: a power cut takes the effects as well).
 *  - Addresses and ports are taken before the first wait that follows, so that no two set-ups get the same.
 *  - Setting up spawns no process unless it is the first on its network, or needs a resolver of its own.
 */
import { KeyedMutex } from "../base/keyed-mutex.ts";
import type { OpContext } from "../base/op-context.ts";
import { Reverter } from "../base/reverter.ts";
import type { KernelOp } from "../host/kernel-ops.ts";
import type { EndpointRecord, EndpointSpec, PortSpec, PublishedPort } from "../schema/network.ts";
import { Attachments, dnsNames, refuseConnect } from "./attachments.ts";
import { announce, type EngineParts } from "./engine-parts.ts";
import { networkErrors } from "./errors.ts";
import { publishOps, requireTable, unpublishOps } from "./firewall.ts";
import type { SandboxRecord, SandboxRequest } from "./network-service.ts";
import { saveSandbox, type StoredSandbox } from "./network-store.ts";
import { readHostResolvConf } from "./resolv-conf.ts";
import { hasNames } from "./resolver-plan.ts";
import { SandboxPorts } from "./sandbox-ports.ts";
import { removeSandboxFiles, sandboxFilePaths, writeSandboxFiles } from "./sandbox-files.ts";
import {
  type Attachment,
  attachmentUp,
  defaultGateway,
  defaultRoutes,
  portTargetOf,
  sandboxUp,
} from "./sandbox-plan.ts";
import { SandboxViews } from "./sandbox-views.ts";

export class Sandboxes {
  readonly #parts: EngineParts;
  readonly #attachments: Attachments;
  readonly #ports: SandboxPorts;
  readonly #views: SandboxViews;
  readonly #locks = new KeyedMutex();

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#attachments = new Attachments(parts);
    this.#ports = new SandboxPorts(parts);
    this.#views = new SandboxViews(parts, this.#attachments);
  }

  async setUp(ctx: OpContext, request: SandboxRequest): Promise<SandboxRecord> {
    using _held = await this.#locks.acquire(request.instanceId);
    await this.#takeDown(ctx, request.instanceId);
    const networks = await this.#attachments.networksFor(ctx, request);
    const host = await readHostResolvConf();
    await using reverter = new Reverter(ctx);

    const attachments = this.#attachments.attachAll(request, networks);
    let sandbox = this.#record(request, attachments, []);
    const view = this.#views.checked(sandbox, attachments, attachments, host, true);
    this.#saveWith(sandbox, attachments);
    reverter.add("sandbox", (ctx) => this.#takeDown(ctx, request.instanceId, { quiet: true }));

    const gateway = defaultGateway(attachments);
    const ports = await this.#ports.allocate(sandbox, gateway, request.ports);
    if (ports.length > 0) {
      sandbox = { ...sandbox, ports: [...ports] };
      saveSandbox(this.#parts, sandbox);
    }
    const forget = await this.#ports.forgetPeers(ports);
    await allEnded([
      this.#parts.host.kernel.apply(ctx, [...this.#kernelUp(sandbox, attachments), ...forget]),
      writeSandboxFiles(this.#parts.paths, view, this.#parts.config),
      ...attachments.map((attachment) => this.#parts.names.publish(ctx, request.instanceId, attachment)),
      this.#views.lease(ctx, sandbox, attachments, host),
    ]);
    if (view.resolver.kind === "own") {
      await this.#parts.names.serveInstance(ctx, request.instanceId, view.resolver, view.links);
    }
    reverter.commit();
    for (const { network } of attachments) announce(this.#parts.events, "connect", network, request.instanceId);
    await this.#views.refreshLinksTo(sandbox);
    return recordOf(sandbox);
  }

  async tearDown(ctx: OpContext, instanceId: string): Promise<void> {
    using _held = await this.#locks.acquire(instanceId);
    const gone = this.#parts.records.sandboxes.get(instanceId);
    await this.#takeDown(ctx, instanceId);
    if (gone !== undefined) await this.#views.refreshLinksTo(gone);
  }

  async connect(ctx: OpContext, instanceId: string, name: string, spec: EndpointSpec): Promise<SandboxRecord> {
    using _held = await this.#locks.acquire(instanceId);
    const sandbox = this.#require(instanceId);
    const found = this.#parts.catalog.resolve(name);
    refuseConnect(sandbox, found);
    const network = await this.#parts.catalog.ensureUp(ctx, found);
    await using reverter = new Reverter(ctx);

    const before = this.#attachments.of(sandbox);
    const attachment = this.#attachments.attach(sandbox.request, network, spec, before);
    const after = [...before, attachment];
    const connected: StoredSandbox = {
      ...sandbox,
      endpoints: after.map(({ endpoint }) => endpoint),
      request: { ...sandbox.request, endpoints: { ...sandbox.request.endpoints, [network.spec.name]: spec } },
    };
    const host = await readHostResolvConf();
    const view = this.#views.checked(connected, after, [attachment], host, false);
    this.#saveWith(connected, [attachment]);
    reverter.add("endpoint", async (ctx) => {
      await this.#parts.host.kernel.apply(ctx, linkDown(sandbox, attachment.endpoint));
      await this.#withdraw(instanceId, network.id);
      saveSandbox(this.#parts, sandbox);
      this.#parts.addresses.release(attachment.endpoint);
      await this.#views.show(ctx, sandbox, before);
    });
    const hairpin = sandbox.request.ports.length > 0;
    await this.#parts.host.kernel.apply(ctx, attachmentUp(sandbox.netnsPath, attachment, { hairpin, gateway: false }));
    reverter.add("gateway", async (ctx) => void (await this.#moveGateway(ctx, connected, after, before)));
    const moved = await this.#moveGateway(ctx, connected, before, after);
    await this.#parts.names.publish(ctx, instanceId, attachment);
    await this.#views.lease(ctx, connected, after, host);
    await this.#parts.names.serveInstance(ctx, instanceId, view.resolver, view.links);
    await writeSandboxFiles(this.#parts.paths, view, this.#parts.config);
    reverter.commit();
    announce(this.#parts.events, "connect", network, instanceId);
    await this.#views.refreshLinksTo(moved);
    return recordOf(moved);
  }

  async disconnect(ctx: OpContext, instanceId: string, name: string): Promise<SandboxRecord> {
    using _held = await this.#locks.acquire(instanceId);
    const sandbox = this.#require(instanceId);
    const network = this.#parts.catalog.resolve(name);
    const before = this.#attachments.of(sandbox);
    const leaving = before.find((attachment) => attachment.network.id === network.id);
    if (leaving === undefined) throw networkErrors.NOT_CONNECTED({ instance: instanceId, network: network.spec.name });
    if (sandbox.mode === "host") {
      throw networkErrors.CONNECT_REFUSED({
        reason: "cannot disconnect container from host network - container was created in host network mode",
      });
    }
    await using reverter = new Reverter(ctx);
    const after = before.filter((attachment) => attachment !== leaving);
    // Withdrawn first, taken from the record last: an engine that dies in between still knows what to take away.
    reverter.add("names", (ctx) => this.#parts.names.publish(ctx, instanceId, leaving));
    await this.#withdraw(instanceId, network.id);
    const hairpin = sandbox.request.ports.length > 0;
    reverter.add("gateway", async (ctx) => void (await this.#moveGateway(ctx, sandbox, after, before)));
    const moved = await this.#moveGateway(ctx, sandbox, before, after);
    reverter.add("link", (ctx) =>
      this.#parts.host.kernel.apply(ctx, attachmentUp(sandbox.netnsPath, leaving, { hairpin, gateway: false })),
    );
    await this.#parts.host.kernel.apply(ctx, linkDown(sandbox, leaving.endpoint));
    const rest = without(moved, leaving);
    reverter.add("record", async (ctx) => {
      saveSandbox(this.#parts, sandbox);
      await this.#views.show(ctx, sandbox, before);
    });
    saveSandbox(this.#parts, rest);
    await this.#views.show(ctx, rest, after);
    reverter.commit();
    this.#parts.addresses.release(leaving.endpoint);
    announce(this.#parts.events, "disconnect", network, instanceId);
    await this.#views.refreshLinksTo(rest);
    return recordOf(rest);
  }

  /** At start: whatever there is of a connection that was being made, or taken away, goes. */
  async leave(ctx: OpContext, instanceId: string, name: string): Promise<void> {
    using _held = await this.#locks.acquire(instanceId);
    const sandbox = this.#require(instanceId);
    const network = this.#parts.catalog.resolve(name);
    const before = this.#attachments.of(sandbox);
    const leaving = before.find((attachment) => attachment.network.id === network.id);
    const after = before.filter((attachment) => attachment !== leaving);
    await this.#withdraw(instanceId, network.id);
    let rest = sandbox;
    if (leaving !== undefined) {
      const moved = await this.#moveGateway(ctx, sandbox, before, after);
      await this.#parts.host.kernel.apply(ctx, linkDown(sandbox, leaving.endpoint));
      rest = without(moved, leaving);
      saveSandbox(this.#parts, rest);
      this.#parts.addresses.release(leaving.endpoint);
    }
    await this.#views.show(ctx, rest, after);
    await this.#views.refreshLinksTo(rest);
  }

  async relink(ctx: OpContext, instanceId: string, name: string, links: readonly string[]): Promise<SandboxRecord> {
    using _held = await this.#locks.acquire(instanceId);
    const sandbox = this.#require(instanceId);
    const { id, spec: on } = this.#parts.catalog.resolve(name);
    const linked = (spec: EndpointSpec): EndpointSpec => ({ ...spec, links: [...links] });
    const { [on.name]: asked = { aliases: [] }, ...others } = sandbox.request.endpoints;
    const relinked: StoredSandbox = {
      ...sandbox,
      endpoints: sandbox.endpoints.map((endpoint) =>
        endpoint.networkId === id ? { ...endpoint, spec: linked(endpoint.spec) } : endpoint,
      ),
      request: { ...sandbox.request, endpoints: { ...others, [on.name]: linked(asked) } },
    };
    await using reverter = new Reverter(ctx);
    reverter.add("links", async (ctx) => {
      saveSandbox(this.#parts, sandbox);
      await this.#views.show(ctx, sandbox, this.#attachments.of(sandbox));
    });
    saveSandbox(this.#parts, relinked);
    await this.#views.show(ctx, relinked, this.#attachments.of(relinked));
    reverter.commit();
    return recordOf(relinked);
  }

  async publish(ctx: OpContext, instanceId: string, specs: readonly PortSpec[]): Promise<SandboxRecord> {
    using _held = await this.#locks.acquire(instanceId);
    const sandbox = this.#require(instanceId);
    return recordOf(await this.#ports.add(ctx, sandbox, this.#attachments.of(sandbox), specs));
  }

  async unpublish(
    ctx: OpContext,
    instanceId: string,
    change: { readonly ports: readonly PublishedPort[]; readonly rest: readonly PortSpec[] },
  ): Promise<SandboxRecord> {
    using _held = await this.#locks.acquire(instanceId);
    const sandbox = this.#require(instanceId);
    return recordOf(await this.#ports.remove(ctx, sandbox, this.#attachments.of(sandbox), change));
  }

  async rename(ctx: OpContext, instanceId: string, newName: string): Promise<void> {
    using _held = await this.#locks.acquire(instanceId);
    const sandbox = this.#parts.records.sandboxes.get(instanceId);
    if (sandbox === undefined) return;
    const request = { ...sandbox.request, instanceName: newName };
    const attachments = this.#attachments.of(sandbox).map(({ network, endpoint }) => ({
      network,
      endpoint: { ...endpoint, dnsNames: [...dnsNames(request, network, endpoint.spec)] },
    }));
    const renamed: StoredSandbox = {
      ...sandbox,
      instanceName: newName,
      endpoints: attachments.map(({ endpoint }) => endpoint),
      request,
    };
    saveSandbox(this.#parts, renamed);
    for (const attachment of attachments) await this.#parts.names.publish(ctx, instanceId, attachment);
    await this.#views.refreshLinksTo(renamed);
  }

  /** After an engine's restart: addresses and ports are taken again, and everything that can be missing is made again. */
  async adopt(ctx: OpContext, sandbox: StoredSandbox): Promise<void> {
    const attachments = this.#attachments.of(sandbox);
    for (const { network, endpoint } of attachments) this.#parts.addresses.adopt(network, endpoint);
    this.#parts.ports.adopt(sandbox.instanceId, sandbox.instanceName, sandbox.ports);
    for (const attachment of attachments) await this.#parts.names.publish(ctx, sandbox.instanceId, attachment);
    const host = await readHostResolvConf();
    await this.#views.lease(ctx, sandbox, attachments, host);
    const { resolver, links } = this.#views.of(sandbox, attachments, host, false);
    await this.#parts.names.serveInstance(ctx, sandbox.instanceId, resolver, links);
  }

  /** The attachment that a sandbox's ports are published through. */
  gatewayOf(sandbox: StoredSandbox): Attachment | undefined {
    return defaultGateway(this.#attachments.of(sandbox));
  }

  async #withdraw(instanceId: string, networkId: string): Promise<void> {
    await this.#parts.names.withdraw(instanceId, networkId);
    if (this.#require(instanceId).request.dhcp === true) await this.#parts.dhcp.withdraw(instanceId, networkId);
  }

  #record(request: SandboxRequest, attachments: readonly Attachment[], ports: readonly PublishedPort[]): StoredSandbox {
    const { paths } = this.#parts;
    return {
      instanceId: request.instanceId,
      instanceName: request.instanceName,
      mode: request.mode,
      netnsPath: request.mode === "host" ? "" : paths.netns(request.instanceId),
      endpoints: attachments.map(({ endpoint }) => endpoint),
      ports: [...ports],
      ...sandboxFilePaths(paths, request.instanceId),
      request: storable(request, attachments),
    };
  }

  #kernelUp(sandbox: StoredSandbox, attachments: readonly Attachment[]): readonly KernelOp[] {
    if (sandbox.mode === "host") return [];
    const onBridges = attachments.filter(({ network }) => network.spec.driver === "bridge");
    const linked = attachments.filter(({ endpoint }) => endpoint.hostInterface !== "");
    const gateway = defaultGateway(onBridges);
    const hairpin = sandbox.request.ports.length > 0;
    return [
      ...(onBridges.length === 0 ? [] : [requireTable(this.#parts.tag)]),
      ...sandboxUp(sandbox.netnsPath, linked, { hairpin, sysctls: sandbox.request.sysctls }),
      ...(gateway === undefined ? [] : publishOps(this.#parts.tag, sandbox.ports, portTargetOf(gateway))),
    ];
  }

  /** Undoes whatever of a set-up is there. Safe at any point of it. */
  async #takeDown(ctx: OpContext, instanceId: string, options: { readonly quiet?: boolean } = {}): Promise<void> {
    const { records, host, names, dhcp, paths, addresses, ports, store, events } = this.#parts;
    const sandbox = records.sandboxes.get(instanceId);
    if (sandbox === undefined) return;
    const attachments = this.#attachments.of(sandbox);
    const gateway = defaultGateway(attachments);
    const plan: KernelOp[] = [];
    if (gateway !== undefined) plan.push(...unpublishOps(this.#parts.tag, sandbox.ports, portTargetOf(gateway)));
    plan.push(...(await this.#ports.forgetPeers(sandbox.ports)));
    if (sandbox.netnsPath !== "") plan.push({ op: "netns-remove", path: sandbox.netnsPath });
    const named = attachments.filter(({ network }) => hasNames(network));
    if (named.length > 0) await names.endInstance(instanceId);
    await allEnded([
      host.kernel.apply(ctx, plan),
      ...named.map(({ network }) => names.withdraw(instanceId, network.id)),
      ...(sandbox.request.dhcp === true ? attachments : []).map(({ network }) => dhcp.withdraw(instanceId, network.id)),
    ]);
    await removeSandboxFiles(paths, instanceId);
    for (const endpoint of sandbox.endpoints) addresses.release(endpoint);
    ports.release(instanceId, sandbox.ports);
    store.transaction(() => records.sandboxes.delete(instanceId), { durable: false });
    if (options.quiet === true) return;
    for (const { network } of attachments) announce(events, "disconnect", network, instanceId);
  }

  /**
   * Lets the default route and the published ports follow when the attachment that they go through has changed. Returns the
   * sandbox as it is then; a first gateway brings the ports that could not be published before.
   */
  async #moveGateway(
    ctx: OpContext,
    sandbox: StoredSandbox,
    before: readonly Attachment[],
    after: readonly Attachment[],
  ): Promise<StoredSandbox> {
    const [from, to] = [defaultGateway(before), defaultGateway(after)];
    if (from?.endpoint.id === to?.endpoint.id) return sandbox;
    const { tag, host } = this.#parts;
    const netns = sandbox.netnsPath;
    const ports = from === undefined ? await this.#ports.allocate(sandbox, to, sandbox.request.ports) : sandbox.ports;
    const moved: StoredSandbox = { ...sandbox, ports: to === undefined ? [] : [...ports] };
    saveSandbox(this.#parts, moved);
    try {
      await host.kernel.apply(ctx, [
        ...(from === undefined ? [] : unpublishOps(tag, sandbox.ports, portTargetOf(from))),
        ...(to === undefined ? [] : defaultRoutes(to).map((route) => ({ op: "route-replace", netns, route }) as const)),
        ...(to === undefined ? [] : publishOps(tag, moved.ports, portTargetOf(to))),
        ...(await this.#ports.forgetPeers(ports)),
      ]);
    } catch (error) {
      if (from === undefined) this.#parts.ports.release(sandbox.instanceId, moved.ports);
      throw error;
    }
    if (to === undefined) this.#parts.ports.release(sandbox.instanceId, sandbox.ports);
    return moved;
  }

  #require(instanceId: string): StoredSandbox {
    const sandbox = this.#parts.records.sandboxes.get(instanceId);
    if (sandbox === undefined) throw networkErrors.SANDBOX_NOT_FOUND({ instance: instanceId });
    return sandbox;
  }

  /** The addresses that were `taken` for it are free again when it can't be recorded. */
  #saveWith(sandbox: StoredSandbox, taken: readonly Attachment[]): void {
    try {
      saveSandbox(this.#parts, sandbox);
    } catch (error) {
      for (const { endpoint } of taken) this.#parts.addresses.release(endpoint);
      throw error;
    }
  }
}

/** Like Promise.all, but fails only when none runs any more: what still runs would go on beside its own roll-back. */
async function allEnded(work: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

export function recordOf(sandbox: StoredSandbox): SandboxRecord {
  const { request: _request, ...record } = sandbox;
  return record;
}

function without(sandbox: StoredSandbox, { endpoint, network }: Attachment): StoredSandbox {
  const { [network.spec.name]: _left, ...endpoints } = sandbox.request.endpoints;
  return {
    ...sandbox,
    endpoints: sandbox.endpoints.filter(({ id }) => id !== endpoint.id),
    request: { ...sandbox.request, endpoints },
  };
}

function linkDown(sandbox: StoredSandbox, endpoint: EndpointRecord): readonly KernelOp[] {
  if (sandbox.netnsPath === "" || endpoint.interfaceName === "") return [];
  return [{ op: "link-delete", netns: sandbox.netnsPath, name: endpoint.interfaceName }];
}

/** A copy that the store may keep: the request's lists are the caller's, and its networks may be named by id. */
function storable(request: SandboxRequest, attachments: readonly Attachment[]): StoredSandbox["request"] {
  return {
    ...request,
    endpoints: Object.fromEntries(attachments.map(({ endpoint }) => [endpoint.networkName, endpoint.spec])),
    ports: [...request.ports],
    dns: [...request.dns],
    dnsSearch: [...request.dnsSearch],
    dnsOptions: [...request.dnsOptions],
    extraHosts: [...request.extraHosts],
    sysctls: { ...request.sysctls },
  };
}

/**
 * What an instance sees of its own networks: its hosts and resolv.conf files, the server that answers its questions, and what
 * it is told when it asks for its addresses. They are written anew when its networks, or those it links to, change.
 */
import type { OpContext } from "../base/op-context.ts";
import type { Attachments } from "./attachments.ts";
import { gatewayOf } from "./bridge-plan.ts";
import type { EngineParts } from "./engine-parts.ts";
import { parseExtraHosts } from "./hosts-file.ts";
import { hasLinks, linkEntries } from "./links.ts";
import type { StoredSandbox } from "./network-store.ts";
import { type HostResolvConf, readHostResolvConf } from "./resolv-conf.ts";
import { planResolver, type ResolverPlan } from "./resolver-plan.ts";
import { type SandboxView, writeSandboxFiles } from "./sandbox-files.ts";
import { type Attachment, defaultGateway } from "./sandbox-plan.ts";

export class SandboxViews {
  readonly #parts: EngineParts;
  readonly #attachments: Attachments;

  constructor(parts: EngineParts, attachments: Attachments) {
    this.#parts = parts;
    this.#attachments = attachments;
  }

  /** Refuses what the user gave wrongly before anything is done; the addresses that were `taken` for it are then free again. */
  checked(
    sandbox: StoredSandbox,
    attachments: readonly Attachment[],
    taken: readonly Attachment[],
    host: HostResolvConf,
    strict: boolean,
  ): SandboxView {
    try {
      return this.of(sandbox, attachments, host, strict);
    } catch (error) {
      for (const { endpoint } of taken) this.#parts.addresses.release(endpoint);
      throw error;
    }
  }

  of(sandbox: StoredSandbox, attachments: readonly Attachment[], host: HostResolvConf, strict: boolean): SandboxView {
    const { records, paths, config } = this.#parts;
    const bridge = records.networks.list().find((network) => network.builtin && network.spec.driver === "bridge");
    const hostGateway = bridge === undefined ? "" : gatewayOf(bridge, 4);
    parseExtraHosts(sandbox.request.extraHosts, hostGateway);
    const resolver: ResolverPlan = planResolver({
      instanceId: sandbox.instanceId,
      instanceName: sandbox.instanceName,
      netns: sandbox.netnsPath,
      attachments,
      dns: sandbox.request.dns,
      hostServers: config.dns.length > 0 ? config.dns : host.reachable.nameservers,
      paths,
    });
    const links = linkEntries(attachments, records.sandboxes.list(), { strict });
    return { request: sandbox.request, attachments, resolver, host, links, hostGateway };
  }

  /** Lets the instance ask the right server, and see itself in its files. */
  async show(ctx: OpContext, sandbox: StoredSandbox, attachments: readonly Attachment[]): Promise<void> {
    const host = await readHostResolvConf();
    await this.lease(ctx, sandbox, attachments, host);
    const view = this.of(sandbox, attachments, host, false);
    await this.#parts.names.serveInstance(ctx, sandbox.instanceId, view.resolver, view.links);
    await writeSandboxFiles(this.#parts.paths, view, this.#parts.config);
  }

  /** What the instance is told when it asks for its addresses, if it is one that does. */
  async lease(
    ctx: OpContext,
    { instanceId, request }: StoredSandbox,
    attachments: readonly Attachment[],
    host: HostResolvConf,
  ): Promise<void> {
    if (request.dhcp !== true) return;
    const { config, dhcp } = this.#parts;
    const hostServers = config.dns.length > 0 ? config.dns : host.reachable.nameservers;
    const gateway = defaultGateway(attachments);
    for (const attachment of attachments) {
      const { hostname, domainname, dns, dnsSearch } = request;
      const isGateway = attachment.endpoint.id === gateway?.endpoint.id;
      await dhcp.publish(ctx, instanceId, { attachment, isGateway, hostname, domainname, dns, dnsSearch, hostServers });
    }
  }

  /** The instance's address has changed, or is gone: those that link to it have it in their hosts files and name servers. */
  async refreshLinksTo(changed: StoredSandbox): Promise<void> {
    const linking = this.#parts.records.sandboxes
      .list()
      .filter((sandbox) => sandbox.instanceId !== changed.instanceId)
      .filter((sandbox) => sandbox.endpoints.some(({ spec }) => hasLinks(spec)));
    if (linking.length === 0) return;
    const host = await readHostResolvConf();
    for (const sandbox of linking) {
      const view = this.of(sandbox, this.#attachments.of(sandbox), host, false);
      await this.#parts.names.publishLinks(sandbox.instanceId, view.resolver, view.links);
      await writeSandboxFiles(this.#parts.paths, view, this.#parts.config);
    }
  }
}
